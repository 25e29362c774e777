/** `knockd-nft init`: what it writes, what it leaves alone, and that what it prints opens the door. */
import {
  chmodSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import t, { type Test } from 'tap';
import { parseConfig } from '../../src/config/parse.ts';
import { packagedConfiguration } from '../../src/init/document.ts';
import { ids } from '../doctor/patient.ts';
import { tokenWorld } from '../kernel/token-world.ts';
import { createWorld, missing, type World } from '../kernel/world.ts';
import { supervised } from '../supervisor/supervised.ts';
import { missingTmux, openTerminal } from './tmux.ts';

t.jobs = 2;

const skip = missing('namespaces', 'knockd');
const withNft = { skip: missing('namespaces', 'knockd', 'nft') };
const inTerminal = skip || missingTmux();
const program = resolve('dist/knockd-nft.cjs');
const example = readFileSync('config/knockd-nft.json', 'utf8');
const packaged = packagedConfiguration(example, [4711, 8150, 3020, 9999]);

interface Written {
  readonly file: string;
  readonly candidate: boolean;
  readonly copy: string | null;
  readonly services: readonly { name: string; ports: readonly string[]; sequence: readonly number[] }[];
  readonly allow: readonly string[];
  readonly hook: string;
  readonly closed: string;
}

/** A program of this name that listens: node by another name. */
async function listen(
  t: Test,
  world: World,
  name: string,
  ...where: readonly (readonly [port: number, address: string])[]
): Promise<void> {
  const folder = mkdtempSync(join(tmpdir(), 'knockd-nft-test-'));
  t.teardown(() => rmSync(folder, { recursive: true, force: true }));
  chmodSync(folder, 0o755);
  symlinkSync(process.execPath, join(folder, name));
  const script = where
    .map(
      ([port, address]) =>
        `net.createServer(it => it.on('error', () => {})).listen(${port}, '${address}', () => console.log('listens'))`,
    )
    .join(';');
  const running = world.start('server', join(folder, name), ['-e', script]);
  for (const _ of where) await running.line(/listens/);
}

/** Runs `init` without a terminal, with JSON. */
async function init(
  world: World,
  args: readonly string[] = [],
  env: Readonly<Record<string, string>> = {},
): Promise<Written> {
  const { status, stdout, stderr } = await world.knockd(['init', '--json', ...args], { env });
  if (status !== 0) throw new Error(`init ended with ${status}: ${stderr}`);
  return JSON.parse(stdout) as Written;
}

t.test('without a terminal it hides ssh where that listens, and says so', { skip }, async t => {
  const world = await createWorld(t, { clients: [] });
  await listen(t, world, 'sshd', [2200, '0.0.0.0'], [2201, '::']);
  await listen(t, world, 'nginx', [80, '::']);
  const { status, stdout, stderr } = await world.knockd(['init']);
  t.equal(status, 0, stderr);
  t.equal(stderr, 'hides ssh on 2200-2201/tcp (listens there); --service NAME=PORTS hides other ports\n');
  t.match(
    stdout.replaceAll('\n', ' '),
    `Wrote ${world.configFile}: it hides ssh (2200-2201/tcp) behind 4 knocks.`,
  );
  t.equal(statSync(world.configFile).mode & 0o7777, 0o640);
  t.same(readdirSync(dirname(world.configFile)), ['knockd-nft.json'], 'and nothing beside it');
  const { config, warnings } = parseConfig(readFileSync(world.configFile, 'utf8'), 'file', {});
  t.same(warnings, []);
  t.same(
    config.services.map(({ name, ports }) => [name, ports]),
    [['ssh', [{ protocol: 'tcp', first: 2200, last: 2201 }]]],
  );
  t.equal(config.services[0]?.sequences[0]?.knocks.length, 4);
  t.same(config.allow, []);
  t.same((await world.knockd(['check'])).stderr, '', 'check has nothing to say');
});

t.test('the printed commands open the hidden port, with real packets', { skip }, async t => {
  const world = await createWorld(t);
  await listen(t, world, 'sshd', [22, '::']);
  const written = await world.knockd(['init'], { env: { SSH_CONNECTION: '' } });
  const load = await world.knockd(['load']);
  t.equal(load.status, 0, load.stderr);
  const client = world.host('client');
  const reach = () => client.connect(world.server.ipv4, 22);
  t.equal(await reach(), 'refused', 'as by the ports beside it');
  const line = written.stdout.match(/^ *for port in .*$/m)?.[0] ?? '';
  t.match(line, '/dev/tcp/HOST/$port');
  await world.run('client', 'bash', ['-c', line.replaceAll('HOST', world.server.ipv4)]);
  t.equal(await reach(), 'open');

  const [, knocks = ''] = written.stdout.match(/knockd-nft knock HOST ([\d ]+) --wait 22$/m) ?? [];
  await client.knock(
    world.server.ipv6,
    knocks.split(' ').map(port => `${port}/tcp`),
  );
  t.equal(await client.connect(world.server.ipv6, 22), 'open');
});

t.test(
  'the hidden port looks like the ports beside it, and doctor has no finding about it',
  withNft,
  async t => {
    const world = await createWorld(t);
    await listen(t, world, 'sshd', [22, '::']);
    await listen(t, world, 'nginx', [80, '::']);
    for (const [end, closed] of [
      ['', 'reject'],
      ['drop', 'drop'],
      ['reject with tcp reset', 'reject'],
      ['reject with icmpx admin-prohibited', 'prohibited'],
      ['tcp dport < 50 reject with icmpx admin-prohibited\ndrop', 'prohibited'],
    ] as const) {
      await world.nft(`table inet filter {
	chain input {
		type filter hook input priority filter;
		ct state established accept
		meta l4proto { icmp, ipv6-icmp } accept
		tcp dport { 22, 80 } accept
		${end}
	}
}`);
      const args = ['--force', '--service', 'ssh', 'web=80'];
      const written = await init(world, args);
      t.equal(written.closed, closed, end);
      t.equal((await world.knockd(['load'])).status, 0);
      t.notMatch(await ids(world), ['stands-out'], end);
      for (const ports of [
        [21, 22, 23],
        [79, 80, 81],
      ]) {
        const client = world.host('client');
        const look = (port: number) => client.probe({ protocol: 'tcp', to: world.server.ipv6, port });
        const seen = await Promise.all(ports.map(look));
        t.equal(new Set(seen).size, 1, `${end}: ${seen}`);
      }
      await world.nft('delete table inet filter');
    }
  },
);

t.test('under a supervisor, --force does what the message says', { skip }, async t => {
  const { world, environment: env, supervisor } = await supervised(t, { services: {} });
  const refused = await world.knockd(['init'], { env });
  t.equal(refused.status, 1);
  t.match(refused.stderr, `--force writes a new one to ${world.configFile}.new, to be tried\n`);
  const before = readFileSync(world.configFile, 'utf8');
  t.equal((await world.knockd(['init', '--force'], { env })).status, 0);
  t.equal(readFileSync(world.configFile, 'utf8'), before);
  t.match(readFileSync(`${world.configFile}.new`, 'utf8'), '"sequence"');
  await supervisor.stop();
});

/** The environment of a client with the lines that `init` printed for its file of hosts. */
function clientWith(t: Pick<Test, 'teardown'>, printed: string) {
  const home = mkdtempSync(join(tmpdir(), 'knockd-nft-test-'));
  t.teardown(() => rmSync(home, { recursive: true }));
  mkdirSync(join(home, 'knockd-nft'));
  const hosts = printed.match(/(?<=^ +)\{ .*$/gm) ?? [];
  writeFileSync(join(home, 'knockd-nft/hosts.json'), hosts.join('\n'), { mode: 0o600 });
  return { XDG_CONFIG_HOME: home, XDG_STATE_HOME: home };
}

t.test('with the printed lines for the client, a name is enough', { skip }, async t => {
  const world = await createWorld(t);
  const connection = await login(t, world);
  const { stdout } = await world.knockd(['init'], { env: { SSH_CONNECTION: connection } });
  t.match(stdout, `     Host ${world.server.ipv4}\n       ProxyCommand knockd-nft proxy %h %p\n`);
  t.equal((await world.knockd(['load'])).status, 0);
  const client = world.host('client');
  t.equal(await client.connect(world.server.ipv4, 22), 'refused');
  const env = clientWith(t, stdout);
  const knocked = await world.knockd(['knock', world.server.ipv4, '--wait'], {
    host: 'client',
    config: false,
    env,
  });
  t.equal(knocked.status, 0, knocked.stderr);
  t.equal(await client.connect(world.server.ipv4, 22), 'open');
});

t.test(
  'with the printed line for the client, one token opens one service, each by its name',
  { skip },
  async t => {
    const world = await tokenWorld(t);
    const connection = await login(t, world);
    await listen(t, world, 'nginx', [80, '::'], [443, '::']);
    const { stdout, stderr } = await world.knockd(
      ['init', '--service', 'nginx', 'ssh', '--tokens', 'laptop'],
      {
        env: { ...world.env, SSH_CONNECTION: connection },
      },
    );
    t.match(stdout.replace(/\s+/g, ' '), 'ssh (22/tcp) behind one-time tokens for laptop');
    t.notMatch(stderr, 'five minutes');
    t.equal((await world.knockd(['load'], { env: world.env })).status, 0);
    const client = world.host('client');
    const env = clientWith(t, stdout);
    const lines = [...stdout.matchAll(/^ +knockd-nft (knock \S+ --wait (\d+))$/gm)];
    t.same(
      lines.map(([, , port]) => port),
      [80, 22],
    );
    for (const [, words = '', port] of lines) {
      t.equal(await client.connect(world.server.ipv4, Number(port)), 'refused');
      const knocked = await world.knockd(words.split(' '), { host: 'client', config: false, env });
      t.match(knocked, { status: 0, stderr: '' });
      t.equal(await client.connect(world.server.ipv4, Number(port)), 'open');
    }
  },
);

t.test(
  'with tokens the client is made ready before the trial, and its line sends a token also from an address that needs none',
  { skip },
  async t => {
    const world = await tokenWorld(t);
    const connection = await login(t, world);
    const { stdout } = await world.knockd(['init', '--tokens', 'laptop', '--allow', '10.77.0.2'], {
      env: { ...world.env, SSH_CONNECTION: connection },
    });
    const places = [/hosts\.json/, /\.ssh\/config/, / try .*--for 2m$/m, /OPENED is 1/].map(it =>
      stdout.search(it),
    );
    t.notOk(places.includes(-1), stdout);
    t.same(
      places,
      places.toSorted((a, b) => a - b),
      stdout,
    );
    t.equal((await world.knockd(['load'], { env: world.env })).status, 0);
    const [, words = ''] = stdout.match(/^ +knockd-nft (knock .*)$/m) ?? [];
    const env = clientWith(t, stdout);
    const knocked = await world.knockd(words.split(' '), { host: 'client', config: false, env });
    t.match(knocked, { status: 0, stderr: '' });
    const { services } = JSON.parse((await world.knockd(['status', '--json'], { env: world.env })).stdout);
    t.equal(services.ssh.opened, 1);
  },
);

t.test('options say everything, and are checked before anything is done', { skip }, async t => {
  const world = await createWorld(t, { clients: [] });
  for (const [words, why] of [
    [
      ['--service', 'ssh'],
      /--service: "ssh" is not in the list: expected a name or a number of the list, or NAME=PORTS/,
    ],
    [['--service', 'SSH=22'], /"SSH" is no service name/],
    [['--service', 'ssh=22', 'ssh=23'], /ssh appears twice/],
    [['--service', 'all=1-65535'], /too few free ports/],
    [['--knocks', '2'], /--knocks 2: expected a number from 3 to 32/],
    [['--knocks', '4.5'], /expected a number/],
    [['--tokens', 'Laptop'], /--tokens "Laptop": expected a user, a lower-case letter/],
    [['--tokens', 'laptop', '--knocks', '4'], /--tokens and --knocks: tokens have no knocks/],
    [
      ['--allow', '10.0.0.5/8'],
      /--allow 10\.0\.0\.5\/8 has host bits set: expected the network "10\.0\.0\.0\/8"/,
    ],
    [['--allow', 'home'], /is no address/],
    [['extra'], /too many arguments/],
  ] as const) {
    const { status, stdout, stderr } = await world.knockd(['init', ...words]);
    t.equal(status, 64, words.join(' '));
    t.equal(stdout, '');
    t.match(stderr, why);
    t.ok(stderr.trimEnd().split('\n').length <= 2, 'and no more than what to type');
  }
  t.same(readdirSync(dirname(world.configFile)), []);

  const { services } = await init(world, ['--service', 'all=1-65535', '--tokens', 'laptop']);
  t.match(services, [{ name: 'all', token: { user: 'laptop' } }], 'tokens need no free port');
  rmSync(world.configFile);

  const args = [
    '--service',
    'ssh=22',
    'web=80,443,6000-6010/udp',
    '--service',
    'db=5432',
    '--knocks',
    '7',
    '--allow',
    '192.0.2.7',
    '2001:db8::/32',
  ];
  const written = await init(world, args);
  t.match(written, {
    file: world.configFile,
    candidate: false,
    copy: null,
    services: [
      { name: 'ssh', ports: ['22/tcp'] },
      { name: 'web', ports: ['80/tcp', '443/tcp', '6000-6010/udp'] },
      { name: 'db', ports: ['5432/tcp'] },
    ],
    allow: ['192.0.2.7', '2001:db8::/32'],
    hook: 'input',
    closed: 'reject',
  });
  t.same(new Set(written.services.flatMap(({ sequence }) => sequence)).size, 21);
  const { config } = parseConfig(readFileSync(world.configFile, 'utf8'), 'file', {});
  t.same(
    config.services.map(({ sequences }) => sequences[0]?.knocks.map(({ port }) => port)),
    written.services.map(({ sequence }) => sequence),
  );
  t.equal((await world.knockd(['load'])).status, 0);
});

t.test('the knocks stay clear of what this host uses', { skip }, async t => {
  const world = await createWorld(t, { clients: [] });
  // but for these ports, all are for outgoing connections
  await world.run('server', 'sh', ['-c', 'echo "3400 65535" >/proc/sys/net/ipv4/ip_local_port_range']);
  const server = world.host('server');
  const taken = Array.from({ length: 300 }, (_, index) => 1100 + index * 7);
  for (const [index, port] of taken.entries())
    await server.listen(port, { protocol: index % 2 ? 'udp' : 'tcp' });
  for (let round = 0; round < 3; round++) {
    const { services } = await init(world, ['--force', '--knocks', '32', '--service', 'a=2000-2100', 'b=22']);
    for (const port of services.flatMap(({ sequence }) => sequence))
      t.ok(
        port >= 1024 && port < 3400 && !taken.includes(port) && (port < 2000 || port > 2100),
        String(port),
      );
  }
});

t.test('an existing file stays, unless --force is given; then a copy stays', { skip }, async t => {
  const world = await createWorld(t, { clients: [] });
  const folder = dirname(world.configFile);
  const mine = '{ "services": {} } // mine\n';
  world.write(mine);
  const refused = await world.knockd(['init']);
  t.equal(refused.status, 1);
  t.match(
    refused.stderr,
    `knockd-nft init: ${world.configFile} exists already, and stays as it is: edit it, or`,
  );
  t.equal(refused.stdout, '');
  t.equal(readFileSync(world.configFile, 'utf8'), mine);
  t.same(readdirSync(folder), ['knockd-nft.json']);

  const first = await init(world, ['--force']);
  t.equal(first.copy, `${world.configFile}.bak`);
  t.equal(readFileSync(`${world.configFile}.bak`, 'utf8'), mine);
  const text = readFileSync(world.configFile, 'utf8');
  t.equal((await init(world, ['--force'])).copy, `${world.configFile}.bak2`);
  t.equal(readFileSync(`${world.configFile}.bak`, 'utf8'), mine, 'no copy is lost');
  t.equal(readFileSync(`${world.configFile}.bak2`, 'utf8'), text);
  t.equal(statSync(world.configFile).mode & 0o7777, 0o640);

  const dangling = join(folder, 'link.json');
  symlinkSync('/nowhere/at/all', dangling);
  t.match(await world.knockd(['init'], { config: dangling }), { status: 1, stderr: /exists already/ });
  t.match(await world.knockd(['init'], { config: folder }), { status: 1, stderr: /exists already/ });
  t.match(await world.knockd(['init'], { config: join(folder, 'no/such.json') }), {
    status: 1,
    stderr: new RegExp(`there is no folder ${folder}/no: make it first`),
  });
});

t.test("the package's own first file is replaced, if nobody changed it", { skip }, async t => {
  const world = await createWorld(t, { clients: [] });
  world.write(packaged);
  t.equal((await init(world)).copy, `${world.configFile}.bak`);
  t.equal(readFileSync(`${world.configFile}.bak`, 'utf8'), packaged);
  world.write(packaged.replaceAll(/\/\/(?=["}])/g, ''));
  t.equal((await world.knockd(['init'])).status, 1, 'not when it guards something');
});

t.test(
  'under a supervisor that follows the file, a candidate is written, and nothing is in force',
  { skip },
  async t => {
    const { world, environment: env, events } = await supervised(t, packaged);
    const candidate = `${world.configFile}.new`;
    const before = events().length;
    t.match(await init(world, [], env), { file: candidate, candidate: true, copy: null });
    t.equal(readFileSync(world.configFile, 'utf8'), packaged);
    t.equal(statSync(candidate).mode & 0o7777, 0o640);
    const again = await world.knockd(['init'], { env });
    t.equal(again.status, 1);
    t.match(
      again.stderr,
      `${candidate} exists already, and stays as it is: knockd-nft try ${candidate} tries it`,
    );
    const { stdout } = await world.knockd(['init', '--force'], { env });
    t.match(stdout, `--config ${world.configFile} try ${candidate} --for 2m`);
    t.equal((await world.knockd(['check', candidate])).status, 0);
    const other = join(dirname(world.configFile), 'other.json');
    t.match(JSON.parse((await world.knockd(['init', '--json'], { env, config: other })).stdout), {
      file: other,
      candidate: false,
    });
    t.same(events().slice(before), [], 'the supervisor saw nothing new');
  },
);

t.test(
  'a user who may not write there gets a message that says so',
  { skip: skip || (process.getuid?.() !== 0 && 'this is no root') },
  async t => {
    const world = await createWorld(t, { clients: [] });
    const folder = mkdtempSync(join(tmpdir(), 'knockd-nft-test-'));
    t.teardown(() => rmSync(folder, { recursive: true }));
    chmodSync(folder, 0o755);
    const user = ['--reuid', '12345', '--regid', '12345', '--clear-groups', process.execPath, program];
    const as = (config: string) => world.run('server', 'setpriv', [...user, '--config', config, 'init']);
    const denied = await as(join(folder, 'knockd-nft.json'));
    t.equal(denied.status, 77);
    t.match(denied.stderr, `not permitted: ${folder} cannot be written by this user (EACCES): use sudo`);
    mkdirSync(join(folder, 'own'), { mode: 0o777 });
    chmodSync(join(folder, 'own'), 0o777);
    const own = await as(join(folder, 'own/knockd-nft.json'));
    t.equal(own.status, 0, own.stderr);
    t.match(own.stdout, /^ {5}sudo knockd-nft --config/m);
    t.equal(statSync(join(folder, 'own/knockd-nft.json')).mode & 0o7777, 0o640);
  },
);

/** A connection of ssh that stands, and the variable that tells of it. */
async function login(t: Test, world: World): Promise<string> {
  await listen(t, world, 'sshd', [22, '::']);
  await world.host('client').open(world.server.ipv4, 22, { localPort: 50123 });
  return `${world.client.ipv4} 50123 ${world.server.ipv4} 22`;
}

t.test(
  'the address of the login is reported, never allowed unasked, and only while the login stands',
  { skip },
  async t => {
    const world = await createWorld(t);
    const connection = await login(t, world);
    // as under sudo: the variable is an ancestor's
    const under = await world.run('server', 'env', [
      `SSH_CONNECTION=${connection}`,
      'sh',
      '-c',
      `env -u SSH_CONNECTION '${process.execPath}' '${program}' --config ${world.configFile} init; exit $?`,
    ]);
    t.match(
      under.stderr,
      /^10\.77\.0\.2, from which you are logged in, must knock, too; --allow 10\.77\.0\.2 lets it in without a knock$/m,
    );
    t.match(
      under.stdout,
      /knockd-nft knock 10\.77\.0\.1 /,
      'and the host is called by the address that works',
    );
    t.match(under.stdout, /ssh 10\.77\.0\.1$/m);
    const stale = connection.replace('50123', '50124');
    t.notMatch(await world.knockd(['init', '--force', '--yes'], { env: { SSH_CONNECTION: stale } }), {
      stderr: /10\.77/,
    });
    const allowed = await world.knockd(['init', '--force', '--allow', '10.77.0.2'], {
      env: { SSH_CONNECTION: connection },
    });
    t.notMatch(allowed.stderr, /10\.77/);
    t.match(allowed.stdout, /OPENED is 1/);
  },
);

async function asks(
  t: Test,
  world: World,
  { env = {}, columns = 80 }: { env?: Record<string, string>; columns?: number } = {},
  words = 'init',
) {
  const variables = Object.entries(env).map(([name, value]) => `${name}='${value}'`);
  const command = `env ${variables.join(' ')} '${process.execPath}' '${program}' --config '${world.configFile}' ${words}`;
  // the shell shows what is left of the terminal, and how it ended
  const shell = `stty -g; ${command}; status=$?; stty -g; echo "ended $status"; sleep 100`;
  return openTerminal(t, ['sh', '-c', shell], { inside: { world, host: 'server' }, rows: 100, columns });
}

/** The first and the last line that stty printed. */
function terminalStates(screen: string): readonly (string | undefined)[] {
  const states = screen.split('\n').filter(line => /^[0-9a-f:]{40,}$/.test(line));
  return [states[0], states[1]];
}

t.test('on a terminal it asks, and says what is wrong with an answer', { skip: inTerminal }, async t => {
  const world = await createWorld(t);
  const connection = await login(t, world);
  await listen(t, world, 'nginx', [80, '::'], [443, '::']);
  await listen(t, world, 'postgres', [5432, '127.0.0.1']);
  const terminal = await asks(t, world, { env: { SSH_CONNECTION: connection } });
  const asked = await terminal.shows(/\[ssh\] >$/m);
  t.match(asked, /^ +1 +ssh +22\/tcp +sshd\n +2 +nginx +80\/tcp 443\/tcp +nginx\n\n/m);
  t.notMatch(asked, /postgres/);
  await terminal.type('3');
  await terminal.press('Enter');
  await terminal.shows(/"3" is not in the list; expected/);
  await terminal.type('1, nginx db=5432');
  await terminal.press('Enter');
  t.match(await terminal.shows(/\[yes\] >$/m), /You are logged in from 10\.77\.0\.2\./);
  await terminal.type('perhaps');
  await terminal.press('Enter');
  await terminal.shows(/^yes or no\?$/m);
  await terminal.press('Enter');
  await terminal.shows(/\[laptop\] >$/m);
  await terminal.type('my phone');
  await terminal.press('Enter');
  await terminal.shows(/"my phone" is no name for it; expected/);
  await terminal.type('phone');
  await terminal.press('Enter');
  const screen = await terminal.shows(/^ended 0$/m);
  t.match(screen, /10\.77\.0\.2 would get in without a knock/);
  const [before, after] = terminalStates(screen);
  t.ok(before);
  t.equal(after, before, 'the terminal is as it was');
  const { config } = parseConfig(readFileSync(world.configFile, 'utf8'), 'file', {});
  t.same(
    config.services.map(({ name }) => name),
    ['ssh', 'nginx', 'db'],
  );
  t.equal(config.allow.length, 1);
  for (const { sequences, tokens } of config.services)
    t.same([sequences.length, tokens.map(({ user }) => user)], [0, ['phone']]);
});

t.test('lines that are typed ahead are answers', { skip: inTerminal }, async t => {
  const world = await createWorld(t);
  const connection = await login(t, world);
  const terminal = await asks(t, world, { env: { SSH_CONNECTION: connection } });
  await terminal.type('ssh=22\nno\nsequence\n');
  await terminal.shows(/^ended 0$/m);
  const { allow, services } = parseConfig(readFileSync(world.configFile, 'utf8'), 'file', {}).config;
  t.same(allow, []);
  t.same(
    services.map(({ sequences, tokens }) => [sequences[0]?.knocks.length, tokens.length]),
    [[4, 0]],
  );
});

for (const [key, status] of [
  ['C-c', 130],
  ['C-d', 1],
] as const)
  t.test(`${key} leaves nothing behind, and the terminal as it was`, { skip: inTerminal }, async t => {
    const world = await createWorld(t, { clients: [] });
    const terminal = await asks(t, world);
    await terminal.shows(/\[ssh=22\] >$/m);
    await terminal.type('half an ans');
    if (key === 'C-d') await terminal.press('C-u');
    await terminal.press(key);
    const screen = await terminal.shows(new RegExp(`^ended ${status}$`, 'm'));
    t.match(screen, /^knockd-nft init: nothing was written$/m);
    const [before, after] = terminalStates(screen);
    t.equal(after, before);
    t.same(readdirSync(dirname(world.configFile)), []);
  });

t.test('options and --yes leave nothing to ask', { skip: inTerminal }, async t => {
  for (const [words, way] of [
    ['init --yes', '4 knocks'],
    ['init --yes --tokens pad', 'one-time tokens for pad'],
    ['init --service ssh=22 --tokens pad', 'one-time tokens for pad'],
    ['init --service ssh=22 --knocks 5', '5 knocks'],
    ['init --json', undefined],
  ] as const) {
    const world = await createWorld(t, { clients: [] });
    const terminal = await asks(t, world, {}, words);
    const screen = await terminal.shows(/^ended 0$/m);
    t.notMatch(screen, '] >');
    if (way) t.match(screen.replace(/\s+/g, ' '), `behind ${way}.`);
  }
});

for (const [what, env, coloured] of [
  ['coloured', { CI: 'true' }, true],
  ['plain with NO_COLOR', { NO_COLOR: '1' }, false],
  ['plain with TERM=dumb', { TERM: 'dumb' }, false],
] as const)
  t.test(`the questions are ${what}`, { skip: inTerminal }, async t => {
    const world = await createWorld(t, { clients: [] });
    const terminal = await asks(t, world, { env });
    await terminal.shows(/\[ssh=22\] >$/m);
    t.equal((await terminal.coloured()).includes('\u001b[1m[ssh=22]'), coloured);
    await terminal.press('Enter');
    await terminal.shows(/\[laptop\] >$/m);
    await terminal.press('Enter');
    t.notMatch(await terminal.shows(/^ended 0$/m), /\[\d*[A-HJKm]/, 'no escape sequence is seen');
  });

t.test('a narrow window breaks no words but those of commands', { skip: inTerminal }, async t => {
  const world = await createWorld(t);
  const connection = await login(t, world);
  const terminal = await asks(t, world, { columns: 40, env: { SSH_CONNECTION: connection } });
  await terminal.shows(/\[ssh\] >$/m);
  await terminal.press('Enter');
  await terminal.shows(/\[yes\] >$/m);
  await terminal.press('Enter');
  await terminal.shows(/\[laptop\] >$/m);
  await terminal.press('Enter');
  const screen = await terminal.shows(/^ended 0$/m);
  for (const sentence of [
    'Which of them do you want to hide? Names or numbers, or NAME=PORTS for a service that does not run yet, such as web=80,443.',
    'Nothing is in force yet. Keep this login open, and go on like this:',
    '3. Try it. After two minutes it is undone, unless it is confirmed.',
  ])
    t.ok(screen.replace(/\s+/g, ' ').includes(sentence), sentence);
});
