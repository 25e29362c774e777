/**
 * Makes packages, one for each architecture: `npm run deb`, `npm run rpm` and `npm run tarball`, after a build.
 *
 *     node scripts/package.mjs deb [--arch amd64] [--version 1.0.1] [--out FOLDER] [--fast]
 *
 * Each has all that the program needs, Node.js too, so it can be made for other architectures than this machine's. Without
 * --out it goes into build/deb, and so on; --fast is large, and for tests.
 */
import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, rmSync, statSync } from 'node:fs';
import { basename, join } from 'node:path';
import { parseArgs } from 'node:util';
import { root } from './package/runtime.mjs';
import { manifest, stage, treeIn } from './package/tree.mjs';

const KINDS = ['deb', 'rpm', 'tarball'];

async function makePackages([kind, ...words]) {
  if (!KINDS.includes(kind)) throw new Error(`which package? ${KINDS.join(', ')}`);
  const format = await import(`./package/${kind}.mjs`);
  const { values: options } = parseArgs({
    args: words,
    options: {
      arch: { type: 'string', multiple: true, default: Object.keys(format.architectures) },
      version: { type: 'string', default: manifest.version },
      out: { type: 'string', default: join(root, 'build', kind) },
      fast: { type: 'boolean', default: false },
    },
  });
  if (!existsSync(join(root, 'dist/knockd-nft.cjs')))
    throw new Error('dist/knockd-nft.cjs is missing: npm run build');
  const { program, package: name } = format.needs;
  if (spawnSync(program, ['--version']).error)
    throw new Error(`${program} is missing (Debian: apt install ${name})`);
  mkdirSync(options.out, { recursive: true });
  for (const arch of new Set(options.arch)) makePackage(format, arch, options);
}

function makePackage(format, arch, { version, out, fast }) {
  const cpu = format.architectures[arch];
  if (!cpu)
    throw new Error(`there is no package for ${arch}: ${Object.keys(format.architectures).join(', ')}`);
  const temporary = mkdtempSync(join(root, 'build/package-'));
  try {
    const folder = join(temporary, 'files');
    stage(folder, cpu);
    treeIn(folder).copy(join(root, 'completion/_knockd-nft'), join(format.zsh, '_knockd-nft'));
    const file = join(out, format.fileName(version, arch));
    format.make(folder, file, { arch, version, fast, temporary });
    console.log(`${basename(file)} (${(statSync(file).size / 1e6).toFixed(1)} MB)`);
  } finally {
    rmSync(temporary, { recursive: true });
  }
}

makePackages(process.argv.slice(2)).catch(error => {
  console.error(error.message);
  process.exitCode = 1;
});
