/**
 * The image of the Dockerfile, built and run by Docker's own engine. No registry of images is asked: those that it begins with are
 * made here of the same parts, Debian 13 by debootstrap, and on it the packages' Node.js with the npm of this machine.
 */
import {
  cpSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import t, { type Test } from 'tap';
import { lacking, run, start } from '../kernel/process.ts';
import { createWorld } from '../kernel/world.ts';
import { ssh, sshKnocks, text } from '../system/installed.ts';
import { debian, missingTree } from './tree.ts';

/** Mounts of its own keep the engine's state, and the configuration in /etc, away from this machine. */
const ENGINE = `set -e
mount -t tmpfs tmpfs /run
mount -t cgroup2 cgroup2 /sys/fs/cgroup
cp -a /etc /run/etc
mount --bind /run/etc /etc
mkdir /etc/knockd-nft
echo "$CONFIGURATION" >/etc/knockd-nft/knockd-nft.json
chown root:64022 /etc/knockd-nft/knockd-nft.json
chmod 640 /etc/knockd-nft/knockd-nft.json
exec dockerd --data-root "$DATA" --exec-root /run/docker --host "$DOCKER_HOST" --pidfile /run/docker.pid \\
  --bridge none --iptables=false --ip6tables=false --ip-forward=false --ip-masq=false`;
const engine = ['--mount', '--pid', '--fork', '--mount-proc', '--kill-child', 'sh', '-c', ENGINE];
const READY = /API listen on/;

/** The words after `docker VERB` in docs/operating.md. */
function documented(verb: string): readonly string[] {
  const page = readFileSync('docs/operating.md', 'utf8').replace(/\\\n/g, ' ');
  const [, words] = page.match(new RegExp(`^ {4}docker (${verb} .*)$`, 'm')) ?? [];
  if (!words) throw new Error(`docs/operating.md has no docker ${verb}`);
  return words.trim().split(/\s+/);
}

/** The flags that the supervisor's unit gives to Node.js. */
function flagsOfUnit(): readonly string[] {
  const unit = readFileSync('systemd/knockd-nft.service', 'utf8');
  return (/^ExecStart=\S+ (--.*?) \S+\.cjs run$/m.exec(unit)?.[1] ?? '').split(' ');
}

/** The context of an image that has npm and Node.js where the Dockerfile's NODE has them. */
function writeNode(folder: string): void {
  const local = join(folder, 'usr/local');
  for (const path of ['bin', 'lib/node_modules', 'share']) mkdirSync(join(local, path), { recursive: true });
  const runtime = readdirSync('build/cache').find(name => name.startsWith(`node-linux-${process.arch}`));
  cpSync(join('build/cache', runtime ?? '', 'bin/node'), join(local, 'bin/node'));
  const npm = resolve(process.env.npm_execpath ?? '', '../..');
  cpSync(npm, join(local, 'lib/node_modules/npm'), { recursive: true });
  symlinkSync('../lib/node_modules/npm/bin/npm-cli.js', join(local, 'bin/npm'));
  const lines = ['FROM base', 'COPY usr /usr'];
  const certificates = process.env.NODE_EXTRA_CA_CERTS; // of a network that has its own
  if (certificates) {
    cpSync(certificates, join(local, 'share/ca.crt'), { dereference: true });
    lines.push('ENV NODE_EXTRA_CA_CERTS=/usr/local/share/ca.crt');
  }
  writeFileSync(join(folder, 'Dockerfile'), `${lines.join('\n')}\n`);
}

/** A command of Docker's that must succeed; what it printed. */
function dockerAt(host: string): (...words: readonly string[]) => Promise<string> {
  return async (...words) => {
    const result = await run(['docker', ...words], { env: { DOCKER_HOST: host }, timeout: 600_000 });
    if (result.status !== 0) throw new Error(`docker ${words.join(' ')}: ${text(result)}`);
    return result.stdout;
  };
}

/** Builds in the machine's network; npm and apt ask their registries. */
async function build(t: Test, env: NodeJS.ProcessEnv, folder: string): Promise<void> {
  const daemon = start(['unshare', ...engine], env);
  t.teardown(() => daemon.stop('SIGKILL'));
  await daemon.line(READY);
  const docker = dockerAt(env.DOCKER_HOST ?? '');
  const tree = await debian('trixie');
  const script = `tar -c -C ${tree} --exclude='./dev/*' --exclude='./var/cache/*' . | docker import - base`;
  const made = await run(['sh', '-c', script], { env, timeout: 120_000 });
  if (made.status !== 0) throw new Error(text(made));
  writeNode(folder);
  await docker('build', '--quiet', '--tag', 'node', folder);
  const others = ['--build-arg', 'BASE=base', '--build-arg', 'NODE=node', '--network', 'host'];
  const [verb = '', ...words] = documented('build');
  await docker(verb, ...others, ...words);
  await daemon.stop('SIGKILL');
}

const skip = missingTree() || lacking('docker', 'dockerd', 'unshare');

t.test('a container of our image guards its host, as the handbook runs it', { skip }, async t => {
  const folder = mkdtempSync(join(tmpdir(), 'knockd-nft-image-'));
  const env = {
    DATA: join(folder, 'data'),
    DOCKER_HOST: `unix://${join(folder, 'socket')}`,
    CONFIGURATION: JSON.stringify({ services: { ssh: { ...ssh, openFor: '10m' } } }),
  };
  t.teardown(() => rmSync(folder, { recursive: true }));
  const context = join(folder, 'node');
  mkdirSync(context);
  await build(t, env, context);

  const world = await createWorld(t, { clients: ['client', 'stranger'] });
  await world.host('server').listen(22);
  const reach = (from: string) => world.host(from).connect(world.server.ipv4, 22);
  /** One that must succeed may take its time. */
  const enter = (from: string) => world.host(from).connect(world.server.ipv4, 22, { timeout: 10_000 });
  const daemon = world.start('server', 'unshare', engine, env);
  await daemon.line(READY);
  const docker = dockerAt(env.DOCKER_HOST);
  const container = documented('exec')[1] ?? '';
  const follow = () => start(['docker', 'logs', '--follow', container], env);

  await t.test('it loads into the network of its host, by one capability and no root', async t => {
    await docker(...documented('run'));
    const journal = follow();
    await journal.line(/"event":"loaded"/);
    t.same(
      journal.lines().filter(line => !line.includes('"level":30')),
      [],
      'without a warning',
    );
    t.match(await world.list(), /table inet knockd \{[\s\S]*chain input/);
    const state = await docker('exec', container, 'cat', '/proc/1/status', '/proc/1/cmdline');
    t.match(state, /^Uid:\t64022\t64022/m);
    t.match(state, /^CapEff:\t0000000000001000$/m, 'CAP_NET_ADMIN');
    t.match(state, ['', ...flagsOfUnit(), ''].join('\0'), 'with the flags of the unit');
    t.match(await docker(...documented('exec')), /^ssh [\s\S]*^supervisor: process 1 follows /m);
  });

  await t.test('only a client that knocked comes in', async t => {
    t.equal(await reach('client'), 'silent');
    await world.host('client').knock(world.server.ipv4, sshKnocks);
    t.equal(await enter('client'), 'open');
    t.equal(await reach('stranger'), 'silent');
    t.match(await docker(...documented('exec')), world.client.ipv4);
  });

  await t.test('stopped, the kernel goes on; started again, who is in stays in', async t => {
    await docker('stop', container);
    t.same([await enter('client'), await reach('stranger')], ['open', 'silent']);
    await docker('start', container);
    await follow().line(/"event":"unchanged"/);
    t.same([await enter('client'), await reach('stranger')], ['open', 'silent']);
  });

  await t.test('unload removes the table, for good', async t => {
    await docker('exec', container, 'knockd-nft', 'unload', '--force');
    await follow().line(/"event":"held"/); // the supervisor has seen it
    t.notMatch(await world.list(), 'table inet knockd');
    t.equal(await enter('stranger'), 'open');
    await docker('rm', '--force', container);
  });

  await t.test('without the capability it says so', async t => {
    const words = ['run', '--rm', '--network', 'host', '--cap-drop', 'ALL', 'knockd-nft', 'unload'];
    const result = await run(['docker', ...words], { env, timeout: 120_000 });
    t.equal(result.status, 77, text(result));
    t.match(result.stderr, /CAP_NET_ADMIN/);
  });
  await daemon.stop('SIGKILL');
});
