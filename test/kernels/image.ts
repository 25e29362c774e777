/** What a guest boots into, in two parts: the root that all have, and the modules of one kernel. */
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
import type { Kernel } from './debian.ts';

/** Programs of this machine that go into the root; what else a shell wants is busybox. */
const PROGRAMS = ['nft', 'ip', 'unshare', 'nsenter', 'setpriv', 'env'] as const;

/** Programs that have to be here for all of this. */
export const NEEDED = [
  ...PROGRAMS,
  ...['qemu-system-x86_64', 'apt-get', 'dpkg', 'kmod', 'depmod', 'busybox', 'dash', 'xz', 'ldd'],
] as const;

/** Writes the root: Node.js as it runs here, the program as it is built here, and the checks. */
export async function writeRoot(file: string): Promise<void> {
  await within(file, async root => {
    for (const folder of ['bin', 'sbin', 'usr/bin', 'usr/sbin', 'dev', 'proc', 'sys', 'run', 'tmp', 'root'])
      mkdirSync(join(root, folder), { recursive: true });
    const busybox = put(root, pathOf('busybox'), '/bin/busybox');
    for (const applet of output(busybox, ['--list']).split('\n').filter(Boolean))
      if (applet !== 'busybox') symlinkSync('busybox', join(root, 'bin', applet));
    rmSync(join(root, 'bin/sh'));
    put(root, pathOf('dash'), '/bin/sh');
    put(root, pathOf('kmod'), '/bin/kmod');
    symlinkSync('../bin/kmod', join(root, 'sbin/modprobe')); // the kernel itself calls it
    for (const program of PROGRAMS) put(root, pathOf(program), `/usr/sbin/${program}`);
    put(root, process.execPath, '/usr/bin/node');
    mkdirSync(join(root, 'etc'));
    writeFileSync(join(root, 'etc/passwd'), 'root:x:0:0:root:/root:/bin/sh\n');
    writeFileSync(join(root, 'etc/group'), 'root:x:0:\n');
    writeFileSync(join(root, 'etc/hosts'), '127.0.0.1 localhost\n::1 localhost\n');
    for (const path of ['dist', 'config', 'package.json'])
      cpSync(path, join(root, 'repo', path), { recursive: true });
    for (const name of ['koffi', '@koromix', 'netlink', 'node-gyp-build']) putPackage(root, name);
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

/** What a network of namespaces can want of a kernel's modules; without the drivers of real machines. */
const MODULES =
  /^kernel\/(net\/(netfilter|ipv4|ipv6|bridge|8021q|802|llc|packet|unix|netlink|core|sched)|lib|crypto|arch\/\w+\/crypto)\/|^kernel\/drivers\/net\/(veth|dummy)\.ko/;

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

/** Copies a program with the libraries that it is linked to; returns where it came from. */
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
function putPackage(root: string, name: string): void {
  const from = join('node_modules', name);
  if (!existsSync(from)) return;
  const elsewhere = /\/(vendor|doc)$|\/prebuilds\/(?!linux-x64)/;
  cpSync(from, join(root, 'repo', from), { recursive: true, filter: path => !elsewhere.test(path) });
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
