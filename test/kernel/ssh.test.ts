/** A real sshd that is hidden, and what people do with ssh: all through `ProxyCommand knockd-nft proxy %h %p`. */
import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { chmodSync, createReadStream, mkdirSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { pipeline } from 'node:stream/promises';
import t, { type Test } from 'tap';
import { loadedWorld, serviceOf, ssh } from './loaded.ts';
import { environment, lacking } from './process.ts';
import { cannotSshd, type Sshd, startSshd } from './sshd.ts';
import { missing, type RunOptions, type World } from './world.ts';

t.jobs = 3;

const needs = { skip: missing('namespaces', 'knockd') || cannotSshd(), buffered: true };

/** The server behind knocks, and on the client `bastion` in ssh's configuration and in the file of hosts. */
async function bastion(t: Test, service: object = ssh, sequence: readonly unknown[] = ssh.sequence) {
  const world = await loadedWorld(t, { services: { ssh: service } });
  const sshd = await startSshd(t, world);
  mkdirSync(join(sshd.folder, 'knockd-nft'));
  const hosts = { bastion: { host: world.server.ipv4, knocks: sequence } };
  writeFileSync(join(sshd.folder, 'knockd-nft/hosts.json'), JSON.stringify(hosts), { mode: 0o600 });
  const proxy = `'${process.execPath}' '${resolve('dist/client.cjs')}' proxy`;
  const config = sshd.sshConfig(`Host bastion
  HostName ${world.server.ipv4}
  ProxyCommand ${proxy} %h %p
Host typed
  ProxyCommand ${proxy} bastion %p --timeout 2s
Host direct
  HostName ${world.server.ipv4}
  ConnectTimeout 1`);
  const run = (command: string, args: readonly string[], options: RunOptions = {}) =>
    world.run('client', command, args, {
      ...options,
      env: { XDG_CONFIG_HOME: sshd.folder, GIT_SSH_COMMAND: `ssh -F ${config}`, ...options.env },
    });
  return {
    world,
    sshd,
    config,
    run,
    ssh: (...words: readonly string[]) => run('ssh', ['-F', config, ...words]),
  };
}

/** A file of random bytes in the folder of the test. */
async function randomFile({ folder }: Sshd, megabytes: number): Promise<string> {
  const path = join(folder, 'random');
  const { status } = spawnSync('dd', ['if=/dev/urandom', `of=${path}`, 'bs=1M', `count=${megabytes}`], {
    env: environment,
  });
  if (status !== 0) throw new Error(`dd ended with ${status}`);
  return path;
}

async function checksum(path: string): Promise<string> {
  const hash = createHash('sha256');
  await pipeline(createReadStream(path), hash);
  return hash.digest('hex');
}

/** Everything that was connected came by one knock. */
async function openings(world: World): Promise<number> {
  return (await serviceOf(world, 'ssh')).opened;
}

t.test('plain ssh gets in, with the status of what it ran', { ...needs }, async t => {
  const { world, ssh } = await bastion(t);
  t.match(await ssh('direct', 'true'), { status: 255 }, 'not without knocks');
  t.same(await ssh('bastion', 'echo in; exit 7'), { status: 7, stdout: 'in\n', stderr: '' });
  t.same(await ssh('typed', 'true'), { status: 0, stdout: '', stderr: '' }, 'by the name in the file, too');
  t.equal(await openings(world), 1, 'the second time the door was still open');
});

t.test('a service for single use takes a knock for each login', { ...needs }, async t => {
  const { world, ssh: login } = await bastion(t, { ...ssh, singleUse: true });
  for (const count of [1, 2]) {
    t.same(await login('bastion', 'echo in'), { status: 0, stdout: 'in\n', stderr: '' });
    t.match(await serviceOf(world, 'ssh'), { opened: count, accepted: count, clients: [] });
  }
});

t.test('wrong knocks: ssh fails in time, and says why', { ...needs }, async t => {
  const { ssh: login } = await bastion(t, ssh, [54321, 43217]);
  const { status, stdout, stderr } = await login('typed', 'true');
  t.equal(status, 255);
  t.equal(stdout, '');
  t.match(
    stderr,
    /bastion port 22 is still closed after 2 s \(it does not answer\): check that the knocks are/,
  );
  t.notMatch(stderr, /54321|43217/);
});

t.test('data that is piped into ssh arrives whole, and comes back', { ...needs }, async t => {
  const { sshd, config, run, ssh } = await bastion(t);
  const path = await randomFile(sshd, 20);
  const copied = join(sshd.folder, 'copied');
  const script = 'ssh -F "$0" bastion "tee $2; echo >&2 at the end" <"$1" | sha256sum';
  const { status, stdout, stderr } = await run('sh', ['-c', script, config, path, copied]);
  t.same({ status, stderr }, { status: 0, stderr: 'at the end\n' });
  t.equal(stdout.split(' ')[0], await checksum(path));
  t.equal(await checksum(copied), await checksum(path));
  t.same(await ssh('-n', 'bastion', 'cat; echo end'), { status: 0, stdout: 'end\n', stderr: '' });
  const closed = await run('sh', ['-c', 'ssh -F "$0" bastion "echo here" <&-', config]);
  t.same(closed, { status: 0, stdout: 'here\n', stderr: '' }, 'with stdin closed');
});

t.test('when the server drops the connection, ssh ends', { ...needs }, async t => {
  const { ssh } = await bastion(t);
  const { status, stderr } = await ssh('bastion', 'kill -9 $PPID; sleep 60');
  t.equal(status, 255);
  t.match(stderr, /closed|reset|broken/i);
});

t.test('200 MB of rsync arrive intact', { ...needs, skip: needs.skip || lacking('rsync') }, async t => {
  const { world, sshd, config, run } = await bastion(t);
  const path = await randomFile(sshd, 200);
  const there = join(sshd.folder, 'there');
  const back = join(sshd.folder, 'back');
  for (const [from, to] of [
    [path, `bastion:${there}`],
    [`bastion:${there}`, back],
  ] as const) {
    const { status, stderr } = await run('rsync', ['-W', '-e', `ssh -F ${config}`, from, to]);
    t.same({ status, stderr }, { status: 0, stderr: '' });
  }
  t.equal(await checksum(back), await checksum(path));
  t.ok((await openings(world)) >= 1);
});

t.test('git clones and pushes', { ...needs, skip: needs.skip || lacking('git') }, async t => {
  const { sshd, run } = await bastion(t);
  const repository = join(sshd.folder, 'repository.git');
  const clone = join(sshd.folder, 'clone');
  const nobody = ['-c', 'user.name=Somebody', '-c', 'user.email=somebody@example.org'];
  const git = async (...args: readonly string[]) => {
    const { status, stdout, stderr } = await run('git', [...nobody, ...args], {
      env: { GIT_CONFIG_GLOBAL: '/dev/null', GIT_CONFIG_NOSYSTEM: '1' },
    });
    t.equal(status, 0, `git ${args.join(' ')}: ${stderr}`);
    return stdout;
  };
  await git('init', '-q', '--bare', repository);
  chmodSync(repository, 0o700);
  await git('clone', '-q', `bastion:${repository}`, clone);
  writeFileSync(join(clone, 'file'), 'its text\n');
  await git('-C', clone, 'add', 'file');
  await git('-C', clone, 'commit', '-q', '-m', 'a file');
  await git('-C', clone, 'push', '-q', 'origin', 'HEAD:refs/heads/main');
  await git('clone', '-q', '-b', 'main', `bastion:${repository}`, `${clone}2`);
  t.equal(await git('-C', `${clone}2`, 'show', 'HEAD:file'), 'its text\n');
});
