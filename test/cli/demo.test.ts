/** `knockd-nft demo`, on a host of its own, where nothing else changes anything. */
import { spawnSync } from 'node:child_process';
import {
  chmodSync,
  cpSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import t from 'tap';
import { environment, HUNG, type Result } from '../kernel/process.ts';
import { createWorld, hasNft, missing, type World } from '../kernel/world.ts';

/** A demo mostly waits, so several at a time. */
t.jobs = 4;

const skip = missing('namespaces', 'knockd');
const ESCAPE = '\u001b';
const program = resolve('dist/knockd-nft.cjs');
const shipped = resolve('config/knockd-nft.json');
const asUser = ['setpriv', '--reuid', '12345', '--regid', '12345', '--clear-groups'] as const;

/** An opening that is over soon, but not before a busy machine has used it. */
const brief = `{ "closed": "reject", "services": { "web": { "ports": [8080], "openFor": "10s", "knockTimeout": "1m",
  "sequences": { "alice": [7001, "7003/udp", 7001] } } } }`;

function folder(t: { teardown: (work: () => void) => void }): string {
  const path = mkdtempSync(join(tmpdir(), 'knockd-nft-test-'));
  chmodSync(path, 0o755);
  t.teardown(() => rmSync(path, { recursive: true }));
  return path;
}

function file(t: Parameters<typeof folder>[0], text: string, mode: number): string {
  const path = join(folder(t), 'demo.json');
  writeFileSync(path, text);
  chmodSync(path, mode);
  return path;
}

function demo(
  world: World,
  words: readonly string[] = [],
  {
    before = [],
    env = {},
  }: { readonly before?: readonly string[]; readonly env?: Readonly<Record<string, string>> } = {},
): Promise<Result> {
  const [command = '', ...args] = [...before, process.execPath, program, 'demo', ...words];
  return world.run('server', command, args, { env });
}

/** All that a demo could leave behind on its host. */
async function traces(world: World): Promise<string> {
  const commands = ['ip netns', 'ip -o link', 'ip -o addr', ...(hasNft() ? ['nft list ruleset'] : [])];
  const results = await Promise.all(commands.map(command => world.run('server', 'sh', ['-c', command])));
  return results.map(({ stdout, stderr }) => stdout + stderr).join('\n');
}

function inOrder(text: string, patterns: readonly RegExp[]): string | true {
  let at = 0;
  for (const pattern of patterns) {
    const found = text.slice(at).search(pattern);
    if (found < 0) return `not in its place: ${pattern}`;
    at += found + 1;
  }
  return true;
}

t.test(
  'shows the shipped configuration: closed, open, and closed again',
  { skip, buffered: true },
  async t => {
    const world = await createWorld(t);
    if (hasNft()) await world.nft('table inet mine { chain input { tcp dport 22 accept; }; }');
    const before = await traces(world);
    const { status, stdout, stderr } = await demo(world);
    t.equal(status, 0, stderr);
    t.equal(stderr, '');
    const closed = /client to 192\.0\.2\.1 port 22: no answer.*\n.*2001:db8::1 port 22: no answer/;
    t.equal(
      inOrder(stdout, [
        /client to 192\.0\.2\.1 port 22: "Hello/,
        /10000\/tcp, then 2345\/tcp, then 3456\/tcp, then 1234\/tcp/,
        /loaded: table inet knockd guards 1 service/,
        /has ended/,
        /no program listens on the knock ports/,
        closed,
        /client knocks on 10000\/tcp: the kernel notes 1 of 4/,
        /2345\/tcp: the kernel notes 2 of 4/,
        /3456\/tcp: the kernel notes 3 of 4/,
        /1234\/tcp: the kernel lets it in for 10s/,
        /client to 192\.0\.2\.1 port 22: "Hello/,
        /client to 2001:db8::1 port 22: "Hello/,
        /192\.0\.2\.7 +ssh/,
        /2001:db8::7 +ssh/,
        /Closed again/,
        closed,
        /comes back "Still here\?"/,
        /wrong order/,
        closed,
        /journal: unchanged table inet knockd, 1 service.*event=unchanged$/m,
        /journal: swapped .*: services\.ssh\.openFor: 10s -> 5m .*event=swapped$/m,
        /journal: opened ssh for 192\.0\.2\.7 .*openFor=300s event=opened$/m,
        /client to 192\.0\.2\.1 port 8080: "Hello/,
        /journal: swapped .*2 services: services\.web: new .*event=swapped$/m,
        /client to 192\.0\.2\.1 port 8080: no answer.*\n.*2001:db8::1 port 8080: no answer/,
        /client to 192\.0\.2\.1 port 22: "Hello/,
        /comes back "Still here\?"/,
        /the table is deleted/,
        /journal: restored table inet knockd: .*clients=1 event=restored$/m,
        /client to 192\.0\.2\.1 port 8080: no answer/,
        /client to 192\.0\.2\.1 port 22: "Hello/,
        /comes back "Still here\?"/,
        /process \d+ got SIGKILL, and is gone/,
        /client to 192\.0\.2\.1 port 8080: "Hello/,
        /That was all/,
      ]),
      true,
    );
    t.notOk(stdout.includes(ESCAPE) || stdout.includes('\r'), 'no colours and no countdown in a pipe');
    t.equal(await traces(world), before, 'the host is as before');
  },
);

t.test(
  'takes ports, knocks and times from the file, and prints JSON lines',
  { skip, buffered: true },
  async t => {
    const world = await createWorld(t);
    const { status, stdout, stderr } = await demo(world, ['--config', file(t, brief, 0o664), '--json']);
    t.equal(status, 0, stderr);
    const steps = stdout
      .trimEnd()
      .split('\n')
      .map(line => JSON.parse(line));
    t.same(new Set(steps.map(({ ok }) => ok)), new Set([true]));
    t.same(
      steps.flatMap(({ step, claim, seen }) => (step === 'knock' ? [`${claim}: ${seen}`] : [])),
      [
        'client knocks on 7001/tcp: the kernel notes 1 of 3',
        'client knocks on 7003/udp: the kernel notes 2 of 3',
        'client knocks on 7001/tcp: the kernel lets it in for 10s',
      ],
    );
    t.match(steps.find(({ step }) => step === 'closed')?.seen, /^refused/);
    t.match(steps.find(({ step }) => step === 'newly guarded')?.seen, /^refused/);
    t.equal(steps.at(-1)?.step, 'without supervisor');
  },
);

t.test(
  'shows single use, a log that is silent, and ports that the second service would have',
  { skip, buffered: true },
  async t => {
    const world = await createWorld(t);
    const text = `{ "policy": "drop", "log": { "level": "silent" }, "services": { "web": { // for bob
      "ports": ["8080-8082/tcp", "7001-7003/udp"], "singleUse": true, "openFor": 10,
      "sequences": { "bob": [7001, 9003, 8003] }, }, } }`;
    const { status, stdout, stderr } = await demo(world, ['--config', file(t, text, 0o600)]);
    t.equal(status, 0, stderr + stdout);
    t.match(stdout, /services\.web\.singleUse: true -> false/);
    t.match(stdout, /journal: opened web for 192\.0\.2\.7 .*user=bob openFor=300s/);
    t.match(stdout, /2 services: services\.web2: new/);
    t.match(stdout, /client knocks on 7002\/tcp, 9004\/tcp, 8002\/tcp/);
    t.match(stdout, /client to 192\.0\.2\.1 port 8083: "Hello/);
  },
);

t.test('knocks again if the machine was too slow for a pause', { skip, buffered: true }, async t => {
  const world = await createWorld(t);
  const place = folder(t);
  const slow = join(place, 'slow.cjs');
  writeFileSync(
    slow,
    `const isFirst = process.argv.includes('status') && require('fs').mkdirSync('${place}/was', { recursive: true });
    if (isFirst) Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 5500);`,
  );
  const { status, stdout, stderr } = await demo(world, [], { env: { NODE_OPTIONS: `--require ${slow}` } });
  t.equal(status, 0, stderr);
  t.equal(inOrder(stdout, [/the client begins again/, /notes 1 of 4/, /lets it in/, /That was all/]), true);
});

t.test('shows the same without a clone, as a package has it', { skip, buffered: true }, async t => {
  const world = await createWorld(t);
  const alone = folder(t);
  cpSync('dist', join(alone, 'dist'), { recursive: true });
  symlinkSync(resolve('node_modules'), join(alone, 'node_modules'));
  const { status, stdout, stderr } = await world.run('server', process.execPath, [
    join(alone, 'dist/knockd-nft.cjs'),
    'demo',
  ]);
  t.equal(status, 0, stderr);
  t.match(stdout, /client knocks on 10000\/tcp: the kernel notes 1 of 4/);
});

t.test("leaves the host's supervisor and its folders alone", { skip, buffered: true }, async t => {
  const world = await createWorld(t);
  const [run, state] = [folder(t), folder(t)];
  writeFileSync(join(run, 'hold'), JSON.stringify({ reason: 'unloaded by hand', until: null }));
  const env = { RUNTIME_DIRECTORY: run, STATE_DIRECTORY: state, NOTIFY_SOCKET: join(run, 'notify') };
  const { status, stderr } = await demo(world, ['--config', file(t, brief, 0o600)], { env });
  t.equal(status, 0, stderr);
  t.same(readdirSync(run), ['hold']);
  t.same(readdirSync(state), []);
});

const ordinary =
  skip ||
  (process.getuid?.() !== 0 && 'this is an ordinary user') ||
  (spawnSync('setpriv', [...asUser.slice(1), 'test', '-r', program], { env: environment }).status !== 0 &&
    'an ordinary user cannot read this clone') ||
  (spawnSync('setpriv', [...asUser.slice(1), 'unshare', '-rn', 'true'], { env: environment }).status !== 0 &&
    'ordinary users may not make namespaces');

t.test('needs no root', { skip: ordinary, buffered: true }, async t => {
  const world = await createWorld(t);
  const before = await traces(world);
  const config = file(t, readFileSync(shipped, 'utf8'), 0o664);
  const { status, stdout, stderr } = await demo(world, ['--config', config], { before: asUser });
  t.equal(status, 0, stderr);
  t.match(stdout, /client to 2001:db8::1 port 22: "Hello/);
  t.match(stdout, /journal: restored/);
  t.equal(await traces(world), before);
});

/** Processes, of whomever, that have this word in their environment. */
function processesWith(word: string): string[] {
  return readdirSync('/proc').filter(pid => {
    if (!/^\d+$/.test(pid)) return false;
    try {
      return readFileSync(`/proc/${pid}/environ`, 'latin1').includes(word);
    } catch {
      return false; // it has ended, or is not ours
    }
  });
}

/** The process, of those with this word, that tells the story on the server. */
function narrator(word: string): number {
  const pid = processesWith(word).find(pid =>
    readFileSync(`/proc/${pid}/environ`, 'latin1').includes('KNOCKD_NFT_DEMO=server'),
  );
  return Number(pid);
}

for (const [signal, when, line, processes] of [
  ['SIGKILL', 'during the knocks', /the kernel notes 2 of 3/, 3],
  ['SIGKILL', 'under a supervisor', /event=swapped/, 4],
  ['SIGINT', 'under a supervisor', /event=swapped/, 4],
  ['SIGTERM', 'under a supervisor', /event=swapped/, 4],
  ['SIGKILL', 'of its narrator, under a supervisor', /event=swapped/, 4],
] as const)
  t.test(`leaves nothing behind after ${signal} ${when}`, { skip, buffered: true }, async t => {
    const world = await createWorld(t);
    const before = await traces(world);
    const word = `demo-test-${process.pid}-${signal}-${when.replaceAll(' ', '-')}`;
    const temporary = folder(t);
    const command = [program, '--config', file(t, brief, 0o600), 'demo'];
    const running = world.start('server', process.execPath, command, {
      KNOCKD_NFT_TEST: word,
      TMPDIR: temporary,
    });
    await running.line(line);
    t.ok(processesWith(word).length >= processes, 'the demo, its server and its client');
    if (when.startsWith('of')) process.kill(narrator(word), signal);
    else running.signal(signal);
    await running.ended;
    const deadline = performance.now() + HUNG;
    while (processesWith(word).length > 0 && performance.now() < deadline) await delay(20);
    t.same(processesWith(word), []);
    t.same(readdirSync(temporary), []);
    t.equal(await traces(world), before);
  });

const noTerminal =
  skip || (spawnSync('script', ['-V']).error ? 'script is not installed (util-linux)' : false);

for (const [what, env, coloured] of [
  ['coloured on a terminal', '-u NO_COLOR', true],
  ['plain with NO_COLOR', 'NO_COLOR=1', false],
] as const)
  t.test(`is ${what}`, { skip: noTerminal, buffered: true }, async t => {
    const world = await createWorld(t);
    const command = `env -u FORCE_COLOR ${env} CI=true '${process.execPath}' '${program}' --config '${file(t, brief, 0o600)}' demo`;
    const { status, stdout } = await world.run('server', 'script', ['-qec', command, '/dev/null'], {
      env: { TERM: 'xterm' },
    });
    t.equal(status, 0, stdout);
    t.equal(stdout.includes(`${ESCAPE}[32m`), coloured);
    t.match(stdout, /\r {3}.*the door stays open: 1 s/, 'a countdown');
  });

t.test('names the setting that refuses namespaces', { skip, buffered: true }, async t => {
  const world = await createWorld(t);
  const settings = 'cd /proc/sys/user; echo 0 >max_user_namespaces; echo 0 >max_net_namespaces';
  const { status, stdout, stderr } = await world.run('server', 'unshare', [
    ...['-r', 'sh', '-c', `(${settings}); exec "$0" "$1" demo`],
    ...[process.execPath, program],
  ]);
  t.equal(status, 77);
  t.equal(stdout, '');
  t.match(stderr, /not permitted: .*\n.*user\.max_user_namespaces = 0 forbids it/);
});

t.test('says what is wrong with a configuration it cannot show', { skip, buffered: true }, async t => {
  const world = await createWorld(t);
  const long = '{ "services": { "ssh": { "ports": [22], "sequence": [1, 3, 2], "openFor": "1h" } } }';
  const tooLong = await demo(world, ['--config', file(t, long, 0o600)]);
  t.equal(tooLong.status, 1);
  t.match(tooLong.stderr, /"openFor" of ssh is 1h, and the demo waits for its end: at most 1m/);
  const wrong = await demo(world, ['--config', file(t, '{ "services": [] }', 0o600)]);
  t.equal(wrong.status, 78);
  t.match(wrong.stderr, /demo\.json:1:15: /);
  const none = await demo(world, ['--config', '/nonexistent.json']);
  t.equal(none.status, 78);
});

t.test('fails, and says at what, when something does not happen', { skip, buffered: true }, async t => {
  const world = await createWorld(t);
  const allowed =
    '{ "allow": ["192.0.2.7"], "services": { "ssh": { "ports": [22], "sequence": [1, 3, 2] } } }';
  const { status, stdout, stderr } = await demo(world, ['--config', file(t, allowed, 0o600)]);
  t.equal(status, 1);
  t.match(stdout, /✗ client to 192\.0\.2\.1 port 22: open/);
  t.match(stderr, /this did not happen: closed: client to 192\.0\.2\.1 port 22 \(seen: open/);
});
