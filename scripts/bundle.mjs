// Makes the program, and the client alone: two files, each with all of src that it needs and its imports, except native parts.
import { createHash } from 'node:crypto';
import { chmodSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
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

/** commander loads it at each start, for commands that are programs of their own. We have none. */
const withoutPrograms = {
  name: 'without programs',
  setup({ onResolve, onLoad }) {
    onResolve({ filter: /^node:child_process$/ }, ({ path, importer }) =>
      /\/commander\//.test(importer) ? { path, namespace: 'none' } : undefined,
    );
    onLoad({ filter: /.*/, namespace: 'none' }, () => ({ contents: '' }));
  },
};

/**
 * koffi and netlink search folders and Node.js's own file for the native parts that fit, with code that is compiled at each start: a
 * tenth of the time of a short command. So the program first asks for those that fit most systems. Others, such as musl, do not load them.
 */
const NATIVE = {
  koffi: `try {
  module.exports = require("@koromix/koffi-linux-" + process.arch + "/linux_" + process.arch + "/koffi.node");
} catch (_) {
  module.exports = require("koffi");
}`,
  'node-gyp-build': `const { dirname } = require("path");
module.exports = () => {
  try {
    return require("netlink/prebuilds/linux-" + process.arch + "/node.napi.node");
  } catch (_) {
    return require("node-gyp-build")(dirname(require.resolve("netlink/package.json")));
  }
};`,
};
const nativeFirst = {
  name: 'native parts first',
  setup({ onResolve, onLoad }) {
    onResolve({ filter: /^(koffi|node-gyp-build)$/ }, ({ path, namespace }) =>
      namespace === 'native' ? { path, external: true } : { path, namespace: 'native' },
    );
    onLoad({ filter: /.*/, namespace: 'native' }, ({ path }) => ({
      contents: NATIVE[path],
      resolveDir: '.',
    }));
  },
};

/** Stands for the hash of the program until that is known. */
const PLACE = '@'.repeat(64);

async function bundle(entry, file) {
  const { outputFiles } = await build({
    entryPoints: [entry],
    outfile: file,
    write: false,
    bundle: true,
    platform: 'node',
    target: PARSED_BY,
    supported: { 'class-field': true, 'class-private-field': true }, // 12 has them; written otherwise they are slow
    format: 'cjs', // starts faster than a module
    // V8 keeps the text, and for the text of an error a table of its lines; a trace still leads to a few statements
    minifyWhitespace: true,
    lineLimit: 300,
    external: ['netlink/package.json', '*.node'],
    plugins: [withoutPrograms, nativeFirst],
    banner: { js: `#!/usr/bin/env node\n${GUARD}` },
    mainFields: ['module', 'main'],
    legalComments: 'eof',
    define: {
      BUILD: JSON.stringify(PLACE),
      SHIPPED_CONFIGURATION: JSON.stringify(readFileSync('config/knockd-nft.json', 'utf8')), // what `init` starts from
      SHIPPED_PAGE: JSON.stringify(readFileSync('page/knock.html', 'utf8')),
    },
  });
  const { text } = outputFiles[0];
  // a single other letter makes V8 keep the text, which each thread has, with two bytes for each
  const [letter] = text.match(/[^\p{ASCII}]/u) ?? [];
  if (letter) throw new Error(`${file} has to be ASCII, and has ${letter}: in a regular expression?`);
  const hash = createHash('sha256').update(text).digest('hex');
  writeFileSync(file, text.replace(PLACE, hash));
  chmodSync(file, 0o755);
}

mkdirSync('dist', { recursive: true });
await bundle('src/main-client.ts', 'dist/client.cjs');
await bundle('src/main.ts', 'dist/knockd-nft.cjs');
