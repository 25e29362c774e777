/** The system that a guest boots, in two parts: the root that all have, and the modules of one kernel. */
import { spawnSync } from 'node:child_process';
import {
  chmodSync,
  copyFileSync,
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { dirname, join } from 'node:path';
import { build } from 'esbuild';
import { environment } from '../kernel/process.ts';
import { archive } from './archive.ts';
import { type Architecture, CannotHaveError, type Debian, type Kernel } from './debian.ts';

/** Programs of this machine that go into the root; what else a shell wants is busybox. */
const PROGRAMS = ['nft', 'ip', 'unshare', 'nsenter', 'setpriv', 'env'] as const;
/** Debian's packages of the same, and of what Node.js is linked to, for a root of another architecture. */
const PACKAGES = [
  ...['nftables', 'iproute2', 'util-linux', 'coreutils', 'kmod', 'dash', 'busybox'],
  'libstdc++6',
] as const;

/** Programs that have to be here for all of this. */
export const NEEDED = [
  ...PROGRAMS,
  ...['apt-get', 'dpkg', 'kmod', 'depmod', 'busybox', 'dash', 'xz', 'ldd'],
] as const;

/** As Node.js names them. */
const CPUS: Readonly<Record<Architecture, NodeJS.Architecture>> = { amd64: 'x64', arm64: 'arm64' };

/**
 * Writes the root: the program as it is built here, and the checks. Node.js and the programs are those that run here; for another
 * architecture Debian's, and the Node.js that our packages bring. Throws {@link CannotHaveError}.
 */
export async function writeRoot(file: string, architecture: Architecture, debian: Debian): Promise<void> {
  const cpu = CPUS[architecture];
  await within(file, async root => {
    const natives = cpu === process.arch ? putPrograms(root) : putForeign(root, cpu, debian);
    for (const folder of ['dev', 'proc', 'sys', 'run', 'tmp', 'root', 'etc'])
      mkdirSync(join(root, folder), { recursive: true });
    writeFileSync(join(root, 'etc/passwd'), 'root:x:0:0:root:/root:/bin/sh\n');
    writeFileSync(join(root, 'etc/group'), 'root:x:0:\n');
    writeFileSync(join(root, 'etc/hosts'), '127.0.0.1 localhost\n::1 localhost\n');
    for (const path of ['dist', 'compiled/knockd-nft.cjs', 'config', 'package.json'])
      cpSync(path, join(root, 'repo', path), { recursive: true });
    for (const name of ['koffi', 'netlink', 'node-gyp-build'])
      putPackage(root, `node_modules/${name}`, join('node_modules', name), cpu);
    putPackage(root, `node_modules/@koromix/koffi-linux-${cpu}`, natives, cpu);
    await build({
      entryPoints: { checks: 'test/kernels/checks.ts', agent: 'test/kernel/agent.ts' },
      outdir: join(root, 'repo/guest'),
      bundle: true,
      platform: 'node',
      format: 'esm',
      external: ['koffi', 'netlink'],
      mainFields: ['module', 'main'],
      banner: {
        js: "import { createRequire } from 'node:module'; const require = createRequire(import.meta.url);",
      },
      logLevel: 'error',
    });
    copyFileSync('test/kernels/init.sh', join(root, 'init'));
    chmodSync(join(root, 'init'), 0o755);
  });
}

/** Programs of this machine. Returns the folder of koffi's native part. */
function putPrograms(root: string): string {
  for (const folder of ['bin', 'sbin', 'usr/bin', 'usr/sbin'])
    mkdirSync(join(root, folder), { recursive: true });
  put(root, pathOf('busybox'), '/bin/busybox');
  put(root, pathOf('dash'), '/bin/sh');
  linkApplets(root);
  put(root, pathOf('kmod'), '/bin/kmod');
  symlinkSync('../bin/kmod', join(root, 'sbin/modprobe')); // the kernel itself calls it
  for (const program of PROGRAMS) put(root, pathOf(program), `/usr/sbin/${program}`);
  put(root, process.execPath, '/usr/bin/node');
  return `node_modules/@koromix/koffi-linux-${process.arch}`;
}

/** Programs of Debian's packages. Returns the folder of koffi's native part. */
function putForeign(root: string, cpu: NodeJS.Architecture, debian: Debian): string {
  for (const folder of ['bin', 'sbin']) {
    mkdirSync(join(root, 'usr', folder), { recursive: true });
    symlinkSync(`usr/${folder}`, join(root, folder)); // as base-files would
  }
  debian.programs(PACKAGES, root);
  // the archive of modules has a folder `lib`, which would take the place of such a link
  mkdirSync(join(root, 'lib'));
  symlinkSync('../../lib/modules', join(root, 'usr/lib/modules'));
  for (const loader of readdirSync(join(root, 'usr/lib')).filter(name => name.startsWith('ld-linux')))
    symlinkSync(`../usr/lib/${loader}`, join(root, 'lib', loader));
  rmSync(join(root, 'usr/share'), { recursive: true });
  linkApplets(root);
  const made = spawnSync(process.execPath, ['scripts/package/runtime.mjs', cpu], { encoding: 'utf8' });
  if (made.status !== 0) throw new CannotHaveError(`Node.js for ${cpu}: ${made.stderr.trim()}`);
  const [node = '', natives = ''] = made.stdout.trim().split('\n');
  copyFileSync(join(node, 'bin/node'), join(root, 'usr/bin/node'));
  return natives;
}

/** busybox stands for all that is not there. This machine's, of the same distribution, knows its names. */
function linkApplets(root: string): void {
  const taken = ['bin', 'sbin', 'usr/bin', 'usr/sbin'].flatMap(folder => readdirSync(join(root, folder)));
  for (const applet of output(pathOf('busybox'), ['--list']).split('\n').filter(Boolean))
    if (!taken.includes(applet)) symlinkSync('busybox', join(root, 'bin', applet));
}

/** The modules that a network of namespaces may need; without the drivers of real machines. */
const MODULES =
  /^kernel\/(net\/(netfilter|ipv4|ipv6|bridge|8021q|802|llc|packet|unix|netlink|core|sched)|lib|crypto|arch\/\w+\/crypto)\/|^kernel\/drivers\/net\/(veth|dummy|vrf)\.ko/;

/** Writes a kernel's modules, with the lists by which modprobe finds them. */
export async function writeModules({ modules, release }: Kernel, file: string): Promise<void> {
  await within(file, async root => {
    const folder = join(root, 'lib/modules', release);
    mkdirSync(folder, { recursive: true });
    for (const path of readdirSync(modules, { recursive: true }).map(String)) {
      if (!/\.ko(\.xz|\.zst)?$/.test(path) || !MODULES.test(path)) continue;
      const to = join(folder, path);
      mkdirSync(dirname(to), { recursive: true });
      copyFileSync(join(modules, path), to);
      // the guest has better things to do
      if (path.endsWith('.xz')) output('xz', ['-d', to]);
      if (path.endsWith('.zst')) output('zstd', ['-dq', '--rm', to]);
    }
    for (const name of ['modules.builtin', 'modules.builtin.modinfo', 'modules.order'])
      if (existsSync(join(modules, name))) copyFileSync(join(modules, name), join(folder, name));
    output('depmod', ['-b', root, release]);
  });
}

/** Fills a folder, which becomes the archive `file`. */
async function within(file: string, fill: (root: string) => Promise<void>): Promise<void> {
  const root = mkdtempSync(`${file}.`);
  try {
    await fill(root);
    archive(root, file);
  } finally {
    rmSync(root, { recursive: true });
  }
}

/** Copies a program with the libraries that it is linked to; returns its source. */
function put(root: string, from: string, to: string): string {
  mkdirSync(dirname(join(root, to)), { recursive: true });
  copyFileSync(from, join(root, to));
  putLibraries(root, from);
  return from;
}

function putLibraries(root: string, program: string): void {
  const { stdout } = spawnSync('ldd', [program], { env: environment, encoding: 'utf8' }); // fails for what is linked to none
  for (const [path] of stdout.matchAll(/\/\S+\.so\S*/g)) {
    const to = join(root, path);
    if (existsSync(to)) continue;
    mkdirSync(dirname(to), { recursive: true });
    copyFileSync(path, to);
  }
}

/** Native parts of other platforms and documents stay at home. */
function putPackage(root: string, to: string, from: string, cpu: NodeJS.Architecture): void {
  const elsewhere = new RegExp(`/(vendor|doc)$|/prebuilds/(?!linux-${cpu})`);
  cpSync(from, join(root, 'repo', to), { recursive: true, filter: path => !elsewhere.test(path) });
  if (cpu !== process.arch) return; // what it is linked to is Debian's
  for (const path of readdirSync(from, { recursive: true }).map(String))
    if (path.endsWith('.node') && !elsewhere.test(join(from, dirname(path))))
      putLibraries(root, join(from, path));
}

function pathOf(program: string): string {
  const folders = environment.PATH.split(':');
  const found = folders.map(folder => join(folder, program)).find(existsSync);
  if (found === undefined) throw new Error(`${program} is not installed`);
  return found;
}

function output(command: string, args: readonly string[]): string {
  const { status, stdout, stderr, error } = spawnSync(command, args, { env: environment, encoding: 'utf8' });
  if (status !== 0) throw new Error(`${command} ${args.join(' ')}: ${error?.message ?? stderr}`);
  return stdout;
}
