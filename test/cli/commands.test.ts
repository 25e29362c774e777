/** The command line as scripts see it: exit statuses, streams, formats; and what it never prints. */
import { spawn } from 'node:child_process';
import { chmodSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import t, { type Test } from 'tap';
import { environment, type Result, run } from '../kernel/process.ts';
import { createWorld, missing, type World } from '../kernel/world.ts';

const built = { skip: missing('knockd') };
const inKernel = { skip: missing('namespaces', 'knockd') };
const withNft = { skip: missing('namespaces', 'nft', 'knockd') };
const program = resolve('dist/knockd-nft.cjs');

/** Knocks that no other number in any output looks like. */
const secrets = [54321, 43217, 32143, 61234, 52341, 57313, 48611];
const [a = 0, b = 0, c = 0, d = 0, e = 0, f = 0, g = 0] = secrets;
const services = {
  ssh: { ports: [22], sequence: [a, b, `${c}/udp`, d], knockTimeout: '5m', openFor: '5m' },
  admin: { ports: ['8443/tcp'], sequences: { alice: [e, f, g], bob: [e, g, f] }, openFor: '1m30s' },
};
const good = { services };

/** The program outside all namespaces. */
function knockd(args: readonly string[], env: NodeJS.ProcessEnv = {}): Promise<Result> {
  return run([process.execPath, program, ...args], {
    env: { ...environment, KNOCKD_NFT_CONFIG: '', ...env },
  });
}

function files(t: Test): (name: string, config: object | string, mode?: number) => string {
  const folder = mkdtempSync(join(tmpdir(), 'knockd-nft-cli-'));
  chmodSync(folder, 0o755);
  t.teardown(() => rmSync(folder, { recursive: true }));
  return (name, config, mode = 0o600) => {
    const path = join(folder, name);
    writeFileSync(path, typeof config === 'string' ? config : JSON.stringify(config, null, 2));
    chmodSync(path, mode);
    return path;
  };
}

function noStack(t: Test, { stdout, stderr }: Result, what = 'no stack trace') {
  t.notMatch(`${stdout}${stderr}`, /^ +at .*:\d+:\d+\)?$/m, what);
}

t.test('help and version go to stdout, and are no failure', built, async t => {
  const { version } = JSON.parse(readFileSync('package.json', 'utf8')) as { version: string };
  for (const word of ['--version', '-V'])
    t.same(await knockd([word]), { status: 0, stdout: `${version}\n`, stderr: '' });
  for (const words of [['--help'], ['-h'], ['help']]) {
    const help = await knockd(words);
    t.equal(help.status, 0);
    t.equal(help.stderr, '');
    for (const command of ['check', 'load', 'unload', 'render', 'diff', 'status'])
      t.match(help.stdout, command);
  }
  for (const command of ['check', 'load', 'unload', 'render', 'diff', 'status']) {
    const help = await knockd([command, '--help']);
    t.equal(help.status, 0);
    t.match(help.stdout, /Example:\n {2}.*knockd-nft /, `${command} shows an example`);
    t.match(help.stdout, '--config', `${command} names --config`);
  }
});

t.test('a command line that nobody can mean is 64, with a message on stderr', built, async t => {
  const path = files(t)('good.json', good);
  for (const words of [
    [],
    ['lod'],
    ['--frob'],
    ['load', '--frob'],
    ['--config'],
    ['--config', '', 'check'],
    ['load', 'extra', '--config', path],
    ['check', path, 'extra'],
  ]) {
    const result = await knockd(words);
    t.equal(result.status, 64, words.join(' '));
    t.equal(result.stdout, '');
    t.not(result.stderr, '');
    noStack(t, result);
  }
});

t.test('check says what the file means', built, async t => {
  const path = files(t)('good.json', good);
  t.same(await knockd(['check', path]), {
    status: 0,
    stderr: '',
    stdout: `${path}: valid, 2 services
  ssh: 22/tcp, open for 5m
    4 knocks, about 3e20 guesses to break
  admin: 8443/tcp, open for 1m30s
    alice: 3 knocks, about 2e15 guesses to break
    bob: 3 knocks, about 2e15 guesses to break
`,
  });
  const json = await knockd(['check', '--json', path]);
  t.match(JSON.parse(json.stdout), {
    file: path,
    services: [
      {
        name: 'ssh',
        ports: ['22/tcp'],
        sequences: [{ user: null, knocks: 4 }],
        openFor: 300,
        knockTimeout: 300,
      },
      {
        name: 'admin',
        sequences: [{ user: 'alice' }, { user: 'bob' }],
        openFor: 90,
        singleUse: false,
        closed: 'drop',
      },
    ],
  });
});

t.test('warnings go to stderr and change no status', built, async t => {
  const path = files(t)('weak.json', { services: { ssh: { ports: [22], sequence: [a, a + 1] } } }, 0o644);
  const { status, stdout, stderr } = await knockd(['check', path]);
  t.equal(status, 0);
  t.match(stdout, /valid, 1 service\n/);
  const [first = '', ...rest] = stderr.trimEnd().split('\n');
  t.ok(first.startsWith(`${path}: warning: every user may read the file`), first);
  t.equal(rest.length, 2, 'two knocks, and ports that are neighbours');
  for (const line of rest)
    t.ok(line.startsWith(`${path}:7:19: warning: `) || line.startsWith(`${path}:9:`), line);
  t.notMatch(stdout + stderr, new RegExp(`${a}|${a + 1}`));
});

t.test('errors stand at their line and column, all at once, with 78', built, async t => {
  const path = files(t)(
    'bad.json',
    `{\n  "services": { "ssh": { "prots": [22], "sequence": [${a}, ${a}] } },\n  "policy": 7\n}`,
  );
  for (const words of [
    ['check', path],
    ['--config', path, 'check'],
    ['render', path],
    ['load', '-c', path],
    ['diff', '-c', path],
  ]) {
    const result = await knockd(words);
    t.equal(result.status, 78, words.join(' '));
    t.equal(result.stdout, '');
    const lines = result.stderr.trimEnd().split('\n');
    t.match(lines, [
      `${path}:2:24: `,
      `${path}:2:26: `,
      new RegExp(`^${path}:2:\\d+: .*`),
      `${path}:3:13: policy`,
    ]);
    t.notMatch(result.stderr, String(a), 'and no knock in them');
  }
});

t.test('a file that cannot be used is 78 and one line', built, async t => {
  const write = files(t);
  const cases: readonly (readonly [string, RegExp])[] = [
    ['/no/such/file', /there is no such file/],
    [tmpdir(), /not a regular file/],
    [write('shared.json', good, 0o660), /users other than its owner may write/],
    [write('empty.json', ''), /:1:1: /],
    [write('cut.json', '{ "services": {'), /:1:16: /],
    [write('binary.json', '\0\u0001\uFFFD'), /:1:1: /],
  ];
  for (const [path, reason] of cases)
    for (const command of ['check', 'load', 'diff', 'render']) {
      const result = await knockd(['--config', path, command]);
      t.equal(result.status, 78, `${command} ${path}`);
      t.ok(result.stderr.startsWith(path));
      t.match(result.stderr, reason);
      t.equal(result.stderr.trimEnd().split('\n').length, 1, 'one line');
    }
});

t.test(
  '--config comes before the variable, wherever it stands, and a named file before both',
  built,
  async t => {
    const write = files(t);
    const [one, two, three] = ['one', 'two', 'three'].map(name =>
      write(`${name}.json`, { services: { [name]: { ports: [22], sequence: [a, b, c] } } }),
    ) as [string, string, string];
    const shows = async (words: readonly string[], env: NodeJS.ProcessEnv, name: string) => {
      const { status, stdout } = await knockd(words, env);
      t.equal(status, 0);
      t.match(stdout, `/${name}.json: valid`, words.join(' '));
    };
    await shows(['check'], { KNOCKD_NFT_CONFIG: one }, 'one');
    await shows(['--config', two, 'check'], { KNOCKD_NFT_CONFIG: one }, 'two');
    await shows(['check', '--config', two], { KNOCKD_NFT_CONFIG: one }, 'two');
    await shows(['check', `--config=${two}`], {}, 'two');
    await shows(['-c', two, 'check', three], { KNOCKD_NFT_CONFIG: one }, 'three');
  },
);

t.test('variables come before the log keys of the file, and are checked as well', built, async t => {
  const path = files(t)('good.json', good);
  for (const [variable, value] of [
    ['KNOCKD_NFT_LOG_LEVEL', 'loud'],
    ['KNOCKD_NFT_LOG_FORMAT', 'xml'],
  ] as const) {
    const { status, stdout, stderr } = await knockd(['check', path], { [variable]: value });
    t.equal(status, 78);
    t.equal(stdout, '');
    t.match(stderr, new RegExp(`^${variable}: .*"${value}".*expected .*\n$`));
  }
  const fine = { KNOCKD_NFT_LOG_LEVEL: 'debug', KNOCKD_NFT_LOG_FORMAT: 'json' };
  t.equal((await knockd(['check', path], fine)).status, 0);
});

t.test('check and render need no privileges; the others say in one line which, with 77', built, async t => {
  const path = files(t)('good.json', good, 0o644);
  const root = process.getuid?.() === 0;
  const nobody = root ? ['setpriv', '--reuid=65534', '--regid=65534', '--clear-groups'] : [];
  const as = (words: readonly string[]) =>
    run([...nobody, process.execPath, program, '--config', path, ...words], { env: environment });
  for (const words of [['load'], ['unload'], ['diff'], ['status'], ['status', '--json']]) {
    const result = await as(words);
    t.equal(result.status, 77, words.join(' '));
    t.equal(result.stdout, '');
    const lines = result.stderr
      .split('\n')
      .filter(line => line && !/: warning: every user may read/.test(line));
    t.same(lines.length, 1, 'one line');
    t.match(lines[0], /^knockd-nft: .*CAP_NET_ADMIN/);
  }
  t.equal((await as(['check'])).status, 0);
  const rendered = await as(['render']);
  t.equal(rendered.status, 0);
  t.match(rendered.stdout, /^table inet knockd \{\n.*\n\}\n$/s);
});

t.test('root without the capability gets the same message', inKernel, async t => {
  const world = await createWorld(t);
  const path = world.write(good);
  const bare = ['--bounding-set', '-all', '--inh-caps', '-all', process.execPath, program, '--config', path];
  for (const word of ['load', 'unload', 'diff', 'status']) {
    const { status, stdout, stderr } = await world.run('server', 'setpriv', [...bare, word]);
    t.equal(status, 77, word);
    t.equal(stdout, '');
    t.match(stderr, /^knockd-nft: .*CAP_NET_ADMIN.*\n$/);
  }
  t.equal((await world.run('server', 'setpriv', [...bare, 'check'])).status, 0);
});

t.test('diff: 0 if nothing would change, 1 if something would, more if it failed', withNft, async t => {
  const world = await createWorld(t);
  const diff = async (config: object | string, status: number, ...lines: (string | RegExp)[]) => {
    world.write(config);
    const result = await world.knockd(['diff']);
    t.equal(result.status, status, lines.join('; ') || 'nothing');
    t.match(result.stdout.split('\n').filter(Boolean).sort(), lines);
    t.equal(result.stdout.split('\n').filter(Boolean).length, lines.length);
    const json = await world.knockd(['diff', '--json']);
    if (status < 2) t.equal(JSON.parse(json.stdout).changed, status === 1);
  };
  await diff(good, 1, 'services.admin: new', 'services.ssh: new');
  await world.knockd(['load']);
  await diff(good, 0);
  await diff(
    { ...good, policy: 'drop', allow: ['10.0.0.0/8'], priority: -5, closed: 'reject', table: 'door' },
    1,
    'allow: none -> 10.0.0.0/8',
    'policy: accept -> drop',
    'priority: -10 -> -5',
    'services.admin.closed: drop -> reject',
    'services.ssh.closed: drop -> reject',
    'table: knockd -> door',
  );
  const { ssh, admin } = services;
  await diff(
    { services: { ssh: { ...ssh, sequence: [a, b, c], openFor: 10, ports: [22, '2200-2210/tcp'] } } },
    1,
    'services.admin: gone',
    'services.ssh.openFor: 5m -> 10s',
    'services.ssh.ports: 22/tcp -> 22/tcp, 2200-2210/tcp',
    'services.ssh.sequence: changed',
  );
  const { bob } = admin.sequences;
  await diff(
    { services: { ssh, admin: { ...admin, sequences: { bob, carol: [g, e, f] } } } },
    1,
    'services.admin.sequences.alice: gone',
    'services.admin.sequences.carol: new',
  );
  await diff('{', 78);
  await world.nft('flush ruleset; add table inet knockd { comment "theirs"; }');
  world.write(good);
  const foreign = await world.knockd(['diff']);
  t.ok(foreign.status > 1, `a foreign table of our name: ${foreign.status}`);
  t.match(foreign.stderr, /^knockd-nft: table inet knockd exists and is not ours .*\n$/);
});

t.test('load and unload say what they did', withNft, async t => {
  const world = await createWorld(t);
  world.write(good);
  const says = async (word: string, pattern: RegExp) => {
    const { status, stdout, stderr } = await world.knockd([word]);
    t.same({ status, stderr }, { status: 0, stderr: '' });
    t.match(stdout, pattern);
  };
  await says('unload', /^nothing was loaded\n$/);
  await says('load', /^loaded: table inet knockd guards 2 services /);
  await says('load', /^unchanged: table inet knockd guards 2 services\n$/);
  world.write({ ...good, strict: false });
  await says('load', /^swapped: .*\n {2}strict: true -> false\n$/);
  const json = async (word: string) => JSON.parse((await world.knockd([word, '--json'])).stdout) as object;
  t.match(await json('load'), {
    event: 'unchanged',
    table: 'knockd',
    services: ['ssh', 'admin'],
    objects: 0,
  });
  t.match(await json('unload'), { event: 'unloaded', tables: 1 });
  t.match(await json('unload'), { event: 'unloaded', tables: 0 });
  t.match(await json('metrics'), { loaded: false, inSync: false, tokens: null, lostEvents: null });
  t.match(await json('load'), { event: 'loaded', sessions: 0, changes: [] });
  await says('unload', /^unloaded: /);
  t.equal(await world.list(), '');
});

t.test('a bad file leaves the kernel as it is', withNft, async t => {
  const world = await createWorld(t);
  world.write(good);
  await world.knockd(['load']);
  const before = await world.list();
  world.write({ ...good, policy: 'maybe' });
  t.equal((await world.knockd(['load'])).status, 78);
  t.equal(await world.list(), before);
});

async function statusJson(world: World) {
  const { status, stdout } = await world.knockd(['status', '--json']);
  return { status, ...(JSON.parse(stdout) as object) };
}

t.test('status --json has the shape that scripts rely on, and the right numbers', withNft, async t => {
  const world = await createWorld(t, { clients: ['client', 'knocker'] });
  const empty = { ports: ['8443/tcp'], clients: [], opened: 0, accepted: 0, refused: 0 };
  const alone = { mistaken: [], supervisor: null, hold: null, trial: null };
  const nothing = {
    status: 0,
    loaded: false,
    inSync: false,
    guarded: false,
    table: 'knockd',
    services: {},
    knocking: [],
    wrongKnocks: 0,
    ...alone,
  };
  world.write(good);
  t.same(await statusJson(world), nothing, 'nothing is loaded');

  await world.knockd(['load']);
  const ssh = { ...empty, ports: ['22/tcp'] };
  const all = {
    status: 0,
    loaded: true,
    inSync: true,
    guarded: true,
    table: 'knockd',
    wrongKnocks: 0,
    ...alone,
  };
  t.same(await statusJson(world), { ...all, services: { admin: empty, ssh }, knocking: [] }, 'nobody yet');

  await world.host('server').listen(22);
  const { ipv4, ipv6 } = world.server;
  const client = world.host('client');
  for (let refused = 0; refused < 3; refused++)
    await client.probe({ protocol: 'tcp', to: ipv4, port: 22 }, 20);
  await client.knock(ipv4, [`${a}/tcp`, `${b}/tcp`, `${c}/udp`, `${d}/tcp`]);
  await client.connect(ipv4, 22);
  await client.connect(ipv4, 22);
  await client.knock(ipv6, [`${e}/tcp`, `${f}/tcp`, `${g}/tcp`]);
  await world.host('knocker').knock(ipv4, [`${a}/tcp`, `${b}/tcp`]);
  await world.host('knocker').knock(ipv6, [`${e}/tcp`, `${d}/tcp`, `${e}/tcp`]);
  await world.nft('add element inet knockd ssh_clients_ipv6 { 2001:db8::7 }');

  const found = (await statusJson(world)) as unknown as {
    services: { ssh: { clients: { expires: number | null }[] }; admin: { clients: { expires: number }[] } };
    knocking: { address: string; user: string | null; expires: number }[];
    mistaken: { ago: number }[];
  };
  for (const it of found.mistaken) it.ago = Math.floor(it.ago / 60);
  const order = ({ address, user }: { address: string; user: string | null }) => `${address} ${user}`;
  found.knocking.sort((a, b) => (order(a) < order(b) ? -1 : 1));
  const times = [...found.services.ssh.clients, ...found.services.admin.clients, ...found.knocking];
  const rounded = times.map(entry => {
    const { expires } = entry;
    entry.expires = expires === null ? null : Math.ceil(expires / 10) * 10;
    return expires;
  });
  t.ok(rounded.every(expires => expires === null || expires > 0));
  t.same(found, {
    ...all,
    wrongKnocks: 1,
    mistaken: [{ address: world.addresses('knocker').ipv6, ago: 0 }],
    services: {
      admin: { ...empty, clients: [{ address: world.client.ipv6, user: 'alice', expires: 90 }], opened: 1 },
      ssh: {
        ports: ['22/tcp'],
        clients: [
          { address: world.client.ipv4, user: null, expires: 300 },
          { address: '2001:db8::7', user: null, expires: null },
        ],
        opened: 1,
        accepted: 2,
        refused: 3,
      },
    },
    knocking: [
      { address: world.addresses('knocker').ipv4, service: 'ssh', user: null, step: 2, of: 4, expires: 300 },
      {
        address: world.addresses('knocker').ipv6,
        service: 'admin',
        user: 'alice',
        step: 1,
        of: 3,
        expires: 10,
      },
      {
        address: world.addresses('knocker').ipv6,
        service: 'admin',
        user: 'bob',
        step: 1,
        of: 3,
        expires: 10,
      },
    ],
  });

  const { stdout } = await world.knockd(['status']);
  t.match(stdout, /^table inet knockd: as the configuration says\n/);
  t.match(stdout, /^ssh +22\/tcp +2 +1 +2 +3$/m);
  t.match(stdout, /^10\.77\.0\.2 +ssh +- +\d+(m|s|m\d+s)$/m);
  t.match(stdout, /^2001:db8::7 +ssh +- +for good$/m);
  t.match(stdout, /^fd77::2 +admin +alice +\d+(m|s|m\d+s)$/m);
  t.match(stdout, /^10\.77\.0\.3 +ssh +- +2\/4 +\d+(m|s|m\d+s)$/m);
  t.match(stdout, /^wrong knocks: 1; by fd77::3 \d+s ago$/m);
  t.match(stdout, /^supervisor: none runs/m);
});

t.test('status names networks if a prefix makes a client', inKernel, async t => {
  const world = await createWorld(t);
  world.write({ ...good, prefix: { ipv4: 24, ipv6: 64 } });
  await world.knockd(['load']);
  for (const from of ['198.18.3.4', '2001:db8::9']) {
    const to = from.includes(':') ? world.server.ipv6 : world.server.ipv4;
    await world.host('client').knock(to, [`${e}/tcp`, `${g}/tcp`, `${f}/tcp`, `${a}/tcp`], { from });
  }
  t.match(await statusJson(world), {
    services: {
      admin: {
        clients: [
          { address: '198.18.3.0/24', user: 'bob' },
          { address: '2001:db8::/64', user: 'bob' },
        ],
      },
    },
    knocking: [
      { address: '198.18.3.0/24', step: 1 },
      { address: '2001:db8::/64', step: 1 },
    ],
  });
});

t.test('status answers with 0 whatever the file is like', withNft, async t => {
  const world = await createWorld(t);
  const said = async (inSync: boolean | null, text: RegExp) => {
    t.match(await statusJson(world), { status: 0, loaded: true, inSync });
    const { status, stdout } = await world.knockd(['status']);
    t.equal(status, 0);
    t.match(stdout, text);
  };
  world.write(good);
  await world.knockd(['load']);
  await said(true, /: as the configuration says\n/);
  world.write({ ...good, strict: false });
  await said(false, /: not as the configuration says/);
  world.write('{ "services": 7 }');
  await said(null, /: the configuration cannot be used\n/);
  const { stderr } = await world.knockd(['status']);
  t.match(stderr, /knockd-nft\.json:1:15: services: /, 'and says why, on stderr');
  world.write(good);
  await world.nft('flush chain inet knockd guard_ssh');
  await said(false, /: not as the configuration says/);
  await world.nft('flush ruleset; add table inet knockd');
  t.match(await statusJson(world), { status: 0, loaded: false, inSync: false });
});

t.test('no output but that of render has a knock of a sequence in it', withNft, async t => {
  const world = await createWorld(t);
  const outputs: string[] = [];
  const note = async (words: readonly string[]) => {
    const { stdout, stderr } = await world.knockd(words);
    outputs.push(`${words.join(' ')}: ${stdout}${stderr}`);
  };
  const every = async () => {
    for (const word of ['check', 'diff', 'load', 'status'])
      for (const json of [[], ['--json']]) await note([word, ...json]);
  };
  world.write(good);
  await every();
  await world.host('client').knock(world.server.ipv4, [`${a}/tcp`, `${b}/tcp`]);
  const { ssh, admin } = services;
  world.write({
    services: { ssh: { ...ssh, sequence: [g, f, e, d] }, admin: { ...admin, sequences: { al: [a, b, c] } } },
  });
  await every();
  for (const sequence of [
    [a, a, b],
    [a, `${b}/tpc`],
    [a, -b],
    [a, c + 0.5],
    [`${a}-${b}/tcp`, c],
    [a, `${b} /udp`],
  ]) {
    world.write({ services: { ssh: { ...ssh, sequence } } });
    await note(['check']);
    await note(['load']);
  }
  world.write({ services: { ssh, other: { ...ssh, ports: [23] } } });
  await note(['check']);
  world.write({ services: { ssh, other: { ports: [23], sequence: [...ssh.sequence, 3] } } });
  await note(['check']);
  world.write(good);
  await world.nft(
    'delete element inet knockd ports { tcp . 22 }; delete table inet knockd; add table inet knockd',
  );
  await every();
  for (const output of outputs)
    t.notMatch(output, new RegExp(secrets.join('|')), output.split('\n', 1)[0]?.slice(0, 100) ?? '');
});

t.test('a reader that goes away early is no failure with a stack trace', built, async t => {
  const many = Object.fromEntries(
    Array.from({ length: 300 }, (_, index) => [
      `service${index}`,
      { ports: [2000 + index], sequence: [10000 + index, 20000 + index, 30000 + index] },
    ]),
  );
  const path = files(t)('many.json', { services: many });
  for (const words of [['render'], ['render', '--json'], ['check'], ['--help']]) {
    const result = await run(
      ['sh', '-c', '"$@" | head -c 10', 'sh', process.execPath, program, '-c', path, ...words],
      { env: environment },
    );
    t.equal(result.stdout.length, 10, words.join(' '));
    t.equal(result.stderr, '');
  }
  const child = spawn(process.execPath, [program, '-c', path, 'render'], { env: environment });
  child.stdout.destroy();
  let errors = '';
  child.stderr.setEncoding('utf8').on('data', text => {
    errors += text;
  });
  await new Promise(done => child.once('close', done));
  t.equal(errors, '', 'nobody reads at all');
});

/** Small, and the same everywhere: a failure is repeated by its seed. */
function random(seed: number): (below: number) => number {
  let state = seed * 2654435761;
  return below => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return Math.floor((state / 0x1_0000_0000) * below);
  };
}

function mutate(text: string, seed: number): string {
  const pick = random(seed + 1);
  const scraps = [
    '{',
    '}',
    '[',
    ']',
    ',',
    ':',
    '"',
    '\\',
    '0',
    '-1',
    '1e999',
    'null',
    'true',
    '//',
    '/*',
    '\0',
    '\u2028',
    '😀',
    '"__proto__": 1,',
    '99999999999',
  ];
  let mutant = text;
  for (let change = 0; change <= pick(4); change++) {
    const at = pick(mutant.length);
    const scrap = scraps[pick(scraps.length)] ?? '';
    const length = pick(3) === 0 ? pick(40) : pick(2);
    mutant =
      mutant.slice(0, at) +
      (pick(3) === 0 ? mutant.slice(at, at + 30).repeat(2) : scrap) +
      mutant.slice(at + length);
  }
  return mutant;
}

t.test('damaged files are valid or 78, never a stack trace', built, async t => {
  const write = files(t);
  const original = JSON.stringify(
    { ...good, allow: ['10.0.0.0/8', '::/0'], prefix: { ipv6: 64 }, interfaces: ['eth0'], log: { group: 5 } },
    null,
    1,
  );
  const seeds = Array.from({ length: 60 }, (_, seed) => seed);
  const checkNext = async (): Promise<void> => {
    for (let seed = seeds.shift(); seed !== undefined; seed = seeds.shift()) {
      const path = write(`${seed}.json`, mutate(original, seed));
      const result = await knockd(['check', path]);
      t.ok(result.status === 0 || result.status === 78, `seed ${seed}: ${result.status}`);
      noStack(t, result, `seed ${seed}: no stack trace`);
      if (result.status === 78)
        for (const line of result.stderr.trimEnd().split('\n'))
          t.ok(line.startsWith(`${path}:`), `seed ${seed}: ${line}`);
    }
  };
  await Promise.all([checkNext(), checkNext(), checkNext()]);
});
