/** Node.js for the packages, and the native parts of other architectures: from the npm registry, checked, kept in build/cache. */
import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

export const root = fileURLToPath(new URL('../..', import.meta.url));

/**
 * The newest LTS whose flags the units have. It needs glibc 2.28, as Debian 10 and RHEL 8 have it. There is none for armhf: the
 * last one in the registry has been without security updates for years.
 */
const VERSION = '24.21.0';
const INTEGRITY = {
  x64: 'sha512-3nULszZ5X0fciYpG0t6TrdApJzAn8+FlINP6OiMX7V8HrvpATPN936U1LlReOJriLRa4e8yEqQBYCnLyPNAs7Q==',
  arm64: 'sha512-FpJRPEz2OvvTLfjIOlNGFY9JLPMKgl5m+d4oGYBLg24kJ1mmvN1Zl/HPJgF4HDaJ51ISev1l1cRZ/DM+keXW5g==',
};

const cache = join(root, 'build/cache');

/** The folder of Node.js for `cpu`: `bin/node`, without the symbols that only debuggers read, and `LICENSE`. */
export function nodeFor(cpu) {
  if (!INTEGRITY[cpu]) throw new Error(`there is no Node.js for ${cpu} here`);
  return provide(`node-linux-${cpu}`, VERSION, INTEGRITY[cpu], ['bin/node', 'LICENSE'], folder => {
    const file = join(folder, 'bin/node');
    writeFileSync(file, withoutSymbols(readFileSync(file)));
  });
}

/** The folder of koffi's native part for `cpu`, as the lock file has it. */
export function koffiFor(cpu) {
  const name = `@koromix/koffi-linux-${cpu}`;
  const { packages } = JSON.parse(readFileSync(join(root, 'package-lock.json'), 'utf8'));
  const { version, integrity } = packages[`node_modules/${name}`];
  return provide(name, version, integrity, ['.'], () => {});
}

/** A package of the registry, unpacked once: only what was checked, and is whole, gets its name. */
function provide(name, version, integrity, files, finish) {
  const folder = join(cache, `${name.replace(/^.*\//, '')}-${version}`);
  if (existsSync(folder)) return folder;
  mkdirSync(cache, { recursive: true });
  const temporary = mkdtempSync(join(cache, '.new-'));
  try {
    run(...npm('pack', '--silent', '--pack-destination', temporary, `${name}@${version}`));
    const [archive] = readdirSync(temporary);
    const hash = createHash('sha512')
      .update(readFileSync(join(temporary, archive)))
      .digest('base64');
    if (`sha512-${hash}` !== integrity)
      throw new Error(`${name} ${version} is not what it was: sha512-${hash}, expected ${integrity}`);
    const wanted = files.map(file => `package/${file}`.replace(/\/\.$/, ''));
    run('tar', ['-xzf', join(temporary, archive), '-C', temporary, '--no-same-owner', ...wanted]);
    finish(join(temporary, 'package'));
    renameSync(join(temporary, 'package'), folder);
  } catch (error) {
    if (!existsSync(folder)) throw error; // else somebody was faster
  } finally {
    rmSync(temporary, { recursive: true });
  }
  return folder;
}

/** The npm that started us, if one did. */
function npm(...args) {
  const file = process.env.npm_execpath ?? '';
  return /npm-cli\.c?js$/.test(file) ? [process.execPath, [file, ...args]] : ['npm', args];
}

export function run(command, args, options = {}) {
  const { status, stdout, stderr, error } = spawnSync(command, args, {
    cwd: root,
    encoding: 'utf8',
    ...options,
  });
  if (status === 0) return stdout;
  throw new Error(`${command}: ${`${stdout ?? ''}${stderr ?? ''}${error?.message ?? ''}`.trim()}`);
}

/**
 * A 64-bit ELF file up to the end of what is loaded into memory, as `strip` would leave it, but for any architecture: behind that
 * stand symbols, and the table of sections, which nothing that runs needs (elf(5): e_shoff, e_shnum, e_shstrndx).
 */
function withoutSymbols(elf) {
  const PT_LOAD = 1;
  const [table, size, count] = [Number(elf.readBigUInt64LE(32)), elf.readUInt16LE(54), elf.readUInt16LE(56)];
  const ends = Array.from({ length: count }, (_, index) => table + index * size)
    .filter(at => elf.readUInt32LE(at) === PT_LOAD)
    .map(at => Number(elf.readBigUInt64LE(at + 8) + elf.readBigUInt64LE(at + 32))); // p_offset, p_filesz
  const loaded = elf.subarray(0, Math.max(...ends));
  loaded.writeBigUInt64LE(0n, 40);
  loaded.fill(0, 60, 64);
  return loaded;
}

// ahead of the tests, and for guests of another architecture: prints both folders
if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const cpu = process.argv[2] ?? process.arch;
  try {
    console.log(nodeFor(cpu));
    console.log(koffiFor(cpu));
  } catch (error) {
    console.error(error.message);
    process.exitCode = 1;
  }
}
