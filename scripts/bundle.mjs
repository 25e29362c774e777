// Makes the one file that is the program: all of src and what it imports, but for the two packages with native parts.
import { chmodSync, readFileSync } from 'node:fs';
import { build } from 'esbuild';

await build({
  entryPoints: ['src/main.ts'],
  outfile: 'dist/knockd-nft.cjs',
  bundle: true,
  platform: 'node',
  target: 'node20',
  format: 'cjs', // starts faster than a module
  external: ['koffi', 'netlink'],
  banner: { js: '#!/usr/bin/env node' },
  mainFields: ['module', 'main'],
  legalComments: 'eof',
  // what `init` starts from
  define: { SHIPPED_CONFIGURATION: JSON.stringify(readFileSync('config/knockd-nft.json', 'utf8')) },
});
chmodSync('dist/knockd-nft.cjs', 0o755);
