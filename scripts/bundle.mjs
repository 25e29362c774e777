// Makes the one file that is the program: all of src and what it imports, but for the two packages with native parts.
import { chmodSync, readFileSync } from 'node:fs';
import { build } from 'esbuild';

/**
 * Old versions of Node.js, which many clients have, must be able to parse the whole file: only then they come to the guard at
 * its beginning. 12 is what Debian 11 and Ubuntu 22.04 have.
 */
const PARSED_BY = 'node12';
const GUARD = `"use strict";
if (parseInt(process.versions.node, 10) < 20) {
  require("fs").writeSync(2, "knockd-nft: Node.js 20 or newer is needed; this is " + process.versions.node + "\\n");
  process.exit(1);
}`;

await build({
  entryPoints: ['src/main.ts'],
  outfile: 'dist/knockd-nft.cjs',
  bundle: true,
  platform: 'node',
  target: PARSED_BY,
  supported: { 'class-field': true, 'class-private-field': true }, // 12 has them; written otherwise they are slow
  format: 'cjs', // starts faster than a module
  external: ['koffi', 'netlink'],
  banner: { js: `#!/usr/bin/env node\n${GUARD}` },
  mainFields: ['module', 'main'],
  legalComments: 'eof',
  define: {
    SHIPPED_CONFIGURATION: JSON.stringify(readFileSync('config/knockd-nft.json', 'utf8')), // what `init` starts from
    SHIPPED_PAGE: JSON.stringify(readFileSync('page/knock.html', 'utf8')),
  },
});
// a single other letter makes V8 keep the text, which each thread has, with two bytes for each
const [letter] = readFileSync('dist/knockd-nft.cjs', 'utf8').match(/[^\p{ASCII}]/u) ?? [];
if (letter) throw new Error(`the bundle has to be ASCII, and has ${letter}: in a regular expression?`);
chmodSync('dist/knockd-nft.cjs', 0o755);
