/** `knockd-nft user`: who gets in, by one command, with real packets. */
import { chmodSync, mkdirSync, readFileSync, rmSync, statSync, symlinkSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import t, { type Test } from 'tap';
import { readHosts } from '../../src/client/hosts.ts';
import { withMember } from '../../src/config/edit.ts';
import { parseConfig } from '../../src/config/parse.ts';
import { deriveToken, windowAt } from '../../src/token/derive.ts';
import { cannotInject } from '../faults/strace.ts';
import { patient, until } from '../kernel/loaded.ts';
import { type TokenWorld, tokenWorld } from '../kernel/token-world.ts';
import { missing } from '../kernel/world.ts';

const skip = missing('namespaces', 'knockd');

interface Said {
  readonly event: string;
  readonly inForce: string;
  readonly link?: string;
  readonly hosts: Record<
    string,
    { host?: string; token?: { secret: string; service: string }; knocks?: number[] }
  >;
}

const FILE = `{
  // hidden since May
  "services": {
    "ssh": {
      "ports": [22], // sshd
      "sequence": [7000, 9000, 8000, 7500],
      "openFor": "${patient.openFor}",
    },
  },
}
`;

/** A world whose file is {@link FILE}, and is in force if wanted. */
async function fileWorld(t: Test, { loaded = true } = {}): Promise<TokenWorld> {
  const world = await tokenWorld(t, { clients: ['client', 'stranger'] });
  await world.host('server').listen(22);
  writeFileSync(world.configFile, FILE, { mode: 0o640 });
  chmodSync(world.configFile, 0o640);
  if (loaded) await ok(world, 'load');
  return world;
}

/** The names of a world are in no DNS: resolv.conf(5). */
const RES_OPTIONS = 'timeout:1 attempts:1';
const call = (world: TokenWorld, ...words: readonly string[]) =>
  world.knockd(words, { env: { ...world.env, RES_OPTIONS } });

async function ok(world: TokenWorld, ...words: readonly string[]): Promise<string> {
  const { status, stdout, stderr } = await call(world, ...words);
  if (status !== 0) throw new Error(`${words.join(' ')} ended with ${status}: ${stdout}${stderr}`);
  return stdout;
}

async function said(world: TokenWorld, ...words: readonly string[]): Promise<Said> {
  return JSON.parse(await ok(world, 'user', ...words, '--host', 'bastion', '--json')) as Said;
}

/** The token of this minute, or of one to come, made from what the command printed. */
function tokenOf({ hosts }: Said, ahead = 0): string {
  const { secret = '', service = '' } = hosts.bastion?.token ?? {};
  const key = { secret: Buffer.from(secret, 'hex'), realm: 'default', service };
  return deriveToken(key, windowAt(Date.now()) + ahead);
}

const read = (world: TokenWorld) => readFileSync(world.configFile, 'utf8');

t.test(
  'an added user gets in at once, and the file keeps comments, format, mode and group',
  { skip },
  async t => {
    const world = await fileWorld(t);
    const alice = await said(world, 'add', 'ssh', 'alice');
    t.match(alice, { event: 'added', inForce: 'now' });
    const token = tokenOf(alice);
    t.ok(await world.opens('client', token), 'with the token of this very minute');
    t.notOk(await world.opens('stranger', token), 'which opens once');
    const secret = alice.hosts.bastion?.token?.secret ?? '';
    t.equal(read(world), FILE.replace(/("openFor.*\n)/, `$1      "tokens": { "alice": "${secret}" },\n`));
    t.equal(statSync(world.configFile).mode & 0o7777, 0o640);
    t.match(await ok(world, 'user', 'show', 'ssh', 'alice', '--host', 'bastion'), secret);
    const bob = await said(world, 'add', 'ssh', 'bob');
    t.ok(await world.opens('stranger', tokenOf(bob)));
  },
);

t.test(
  'after a rotation the old secret opens nothing, and the opening is gone; the others stay',
  { skip },
  async t => {
    const world = await fileWorld(t);
    const old = await said(world, 'add', 'ssh', 'alice');
    const bob = await said(world, 'add', 'ssh', 'bob');
    t.ok(await world.opens('client', tokenOf(old)));
    t.match(await call(world, 'user', 'rotate', 'ssh', 'alice', '--knocks', '5'), {
      status: 64,
      stderr: /--knocks 5: tokens have no knocks\n/,
    });
    const fresh = await said(world, 'rotate', 'ssh', 'alice');
    t.not(tokenOf(fresh), tokenOf(old));
    t.equal(await world.host('client').connect(world.server.ipv4, 22), 'silent', 'the opening is gone');
    t.notOk(await world.opens('client', tokenOf(old, 1)), 'the old secret');
    t.ok(await world.opens('client', tokenOf(fresh)), 'the new one, at once');
    t.ok(await world.opens('stranger', tokenOf(bob)), 'the others');
  },
);

t.test('a removed user is out at once, and the only way in cannot be removed', { skip }, async t => {
  const world = await fileWorld(t);
  const alice = await said(world, 'add', 'ssh', 'alice');
  t.ok(await world.opens('client', tokenOf(alice)));
  t.match(await said(world, 'remove', 'ssh', 'alice'), { event: 'removed', inForce: 'now' });
  t.equal(await world.host('client').connect(world.server.ipv4, 22), 'silent');
  t.notOk(await world.opens('client', tokenOf(alice, 1)));
  t.equal(read(world), FILE);
  await ok(world, 'user', 'add', 'ssh', 'bob');
  writeFileSync(world.configFile, read(world).replace(/.*"sequence".*\n/, ''));
  const { status, stderr } = await call(world, 'user', 'remove', 'ssh', 'bob');
  t.match({ status, stderr }, { status: 1, stderr: 'bob is the only way into ssh' });
});

t.test('a supervisor puts it in force by itself, also with the token of this minute', { skip }, async t => {
  const world = await fileWorld(t, { loaded: false });
  const supervisor = world.startKnockd(['run'], world.env);
  await supervisor.line(/"event":"loaded"/);
  const alice = await said(world, 'add', 'ssh', 'alice');
  t.equal(alice.inForce, 'soon');
  await supervisor.line(/"event":"swapped"/);
  await until(
    () => world.list(),
    listing => /map tokens \{[^}]*elements/.test(listing),
  );
  t.ok(await world.opens('client', tokenOf(alice)));
  const everything = supervisor.lines().join('\n');
  t.notMatch(everything, alice.hosts.bastion?.token?.secret ?? '-', 'no log has the secret');
});

t.test('a change that is not in force is reported, with the command to type', { skip }, async t => {
  const world = await fileWorld(t, { loaded: false });
  t.match(await ok(world, 'user', 'add', 'ssh', 'alice'), /NOT IN FORCE YET: nothing is loaded; .*load/);
  await ok(world, 'load');
  writeFileSync(world.configFile, withMember(read(world), [], 'strict', 'false'));
  const { stdout } = await call(world, 'user', 'add', 'ssh', 'bob');
  t.match(stdout, /NOT IN FORCE YET: the kernel was not as the file said before, either/);
});

t.test(
  'a secret in a file of its own is rotated there, and named when it is of no use',
  { skip },
  async t => {
    const world = await fileWorld(t, { loaded: false });
    const folder = join(dirname(world.configFile), 'secrets');
    mkdirSync(folder);
    const file = join(folder, 'alice');
    writeFileSync(file, `${'0a'.repeat(32)}\n`, { mode: 0o600 });
    const text = withMember(FILE, ['services', 'ssh'], 'tokens', '{ "alice": { "file": "secrets/alice" } }');
    writeFileSync(world.configFile, text);
    await ok(world, 'load');
    const alice = await said(world, 'rotate', 'ssh', 'alice');
    t.equal(readFileSync(file, 'utf8'), `${alice.hosts.bastion?.token?.secret}\n`);
    t.equal(statSync(file).mode & 0o7777, 0o600);
    t.equal(read(world), text, 'and the configuration stays as it was');
    t.ok(await world.opens('client', tokenOf(alice)));
    t.match((await call(world, 'user', 'remove', 'ssh', 'alice')).stderr, `${file} is no longer needed`);
  },
);

t.test(
  'rotate names the other users of a file of secrets, and remove does not call such a file unused',
  { skip },
  async t => {
    const world = await fileWorld(t, { loaded: false });
    const file = join(dirname(world.configFile), 'alice');
    writeFileSync(file, `${'0a'.repeat(32)}\n`, { mode: 0o600 });
    const secret = '{ "alice": { "file": "alice" } }';
    const web = `{ "ports": [443], "tokens": ${secret} }`;
    writeFileSync(
      world.configFile,
      withMember(withMember(FILE, ['services', 'ssh'], 'tokens', secret), ['services'], 'web', web),
    );
    await ok(world, 'load');
    const rotated = await call(world, 'user', 'rotate', 'ssh', 'alice');
    t.match(
      rotated.stderr,
      `${file} is the secret of alice of web, too, whose client needs the new one: knockd-nft user show web alice`,
    );
    t.match(rotated.stdout, readFileSync(file, 'utf8').trim());
    t.match(await ok(world, 'user', 'show', 'web', 'alice'), readFileSync(file, 'utf8').trim());
    t.notMatch((await call(world, 'user', 'remove', 'ssh', 'alice')).stderr, 'no longer needed');
    await ok(world, 'check');
  },
);

t.test('a file behind a link is edited there, and one that is not valid is left alone', { skip }, async t => {
  const world = await fileWorld(t, { loaded: false });
  const real = `${world.configFile}.real`;
  writeFileSync(real, FILE, { mode: 0o600 });
  rmSync(world.configFile);
  symlinkSync(real, world.configFile);
  await ok(world, 'user', 'add', 'ssh', 'alice');
  t.match(readFileSync(real, 'utf8'), '"alice"');
  const bad = FILE.replace('[22]', '[0]');
  writeFileSync(real, bad);
  const { status, stderr } = await call(world, 'user', 'add', 'ssh', 'bob');
  t.match({ status, stderr }, { status: 78, stderr: /knockd-nft.json:5:17: / });
  t.equal(readFileSync(real, 'utf8'), bad);
});

t.test(
  'the entries of a client for two services of one host stand side by side in its file',
  { skip },
  async t => {
    const world = await fileWorld(t, { loaded: false });
    const web = { ports: [443], sequence: [7001, 9001, 8001] };
    writeFileSync(world.configFile, withMember(FILE, ['services'], 'web', JSON.stringify(web)));
    const [one, other] = [await said(world, 'add', 'web', 'alice'), await said(world, 'add', 'ssh', 'alice')];
    t.same([Object.keys(one.hosts), Object.keys(other.hosts)], [['web'], ['bastion']]);
    t.match(one.hosts.web, { host: 'bastion', token: { service: 'web' }, port: 443 });
    const file = join(dirname(world.configFile), 'hosts.json');
    writeFileSync(file, JSON.stringify({ ...one.hosts, ...other.hosts }), { mode: 0o600 });
    t.equal(readHosts(file).length, 2, 'which is valid');
  },
);

t.test('two at once both add, or one is told to try again; nobody is lost', { skip }, async t => {
  const world = await fileWorld(t, { loaded: false });
  const users = ['a', 'b', 'c', 'd'];
  const done = await Promise.all(users.map(user => call(world, 'user', 'add', 'ssh', user)));
  const { config } = parseConfig(read(world), 'file', {});
  const added = users.filter((_, index) => done[index]?.status === 0);
  t.not(added.length, 0);
  t.same(config.services[0]?.tokens.map(({ user }) => user).sort(), added);
  for (const { status, stderr } of done) if (status !== 0) t.match(stderr, /try again; nothing was changed/);
});

t.test(
  'a sequence for a user opens what it should, and one for all is not mixed with it',
  { skip },
  async t => {
    const world = await fileWorld(t, { loaded: false });
    const { status, stderr } = await call(world, 'user', 'add', 'ssh', 'carol', '--sequence');
    t.match({ status, stderr }, { status: 1, stderr: 'ssh has one "sequence" for all' });
    writeFileSync(
      world.configFile,
      FILE.replace(
        '"sequence": [7000, 9000, 8000, 7500]',
        '"sequences": { "all": [7000, 9000, 8000, 7500] }',
      ),
    );
    await ok(world, 'load');
    const carol = await said(world, 'add', 'ssh', 'carol', '--sequence', '--knocks', '5');
    const knocks = carol.hosts.bastion?.knocks ?? [];
    t.equal(knocks.length, 5);
    await world.host('client').knock(
      world.server.ipv4,
      knocks.map(port => `${port}/tcp`),
    );
    t.equal(await world.host('client').connect(world.server.ipv4, 22), 'open');
  },
);

t.test('wrong words get a message, and change nothing', { skip }, async t => {
  const world = await fileWorld(t, { loaded: false });
  const cases: readonly (readonly [number, RegExp, ...string[]])[] = [
    [64, /expected user add\|rotate\|remove\|show/, 'ad', 'ssh', 'alice'],
    [64, /"Alice" is no user's name/, 'add', 'ssh', 'Alice'],
    [1, /there is no service web; there is ssh/, 'add', 'web', 'alice'],
    [1, /ssh has no user alice; it has no named users/, 'rotate', 'ssh', 'alice'],
    [1, /ssh has no user alice/, 'show', 'ssh', 'alice'],
    [64, /--page x is no URL/, 'add', 'ssh', 'alice', '--page', 'x'],
    [64, /--knocks 5: tokens have no knocks; add --sequence/, 'add', 'ssh', 'carol', '--knocks', '5'],
    [64, /--knocks 2: expected a number/, 'add', 'ssh', 'carol', '--sequence', '--knocks', '2'],
    [64, /--sequence: .* it belongs to "user add"/, 'rotate', 'ssh', 'alice', '--sequence'],
    [64, /--knocks 5: "user show" makes no sequence/, 'show', 'ssh', 'alice', '--knocks', '5'],
  ];
  for (const [status, stderr, ...words] of cases)
    t.match(await call(world, 'user', ...words), { status, stderr });
  t.equal(read(world), FILE);
});

t.test(
  'the link for a phone holds what the page needs, and the QR code is shown if asked',
  { skip },
  async t => {
    const world = await fileWorld(t, { loaded: false });
    const options = ['--host', '192.0.2.1', '--page', 'https://example.org/knock.html'];
    const out = await ok(world, 'user', 'add', 'ssh', 'alice', ...options, '--qr');
    const [, link = ''] = /^ {2}(https:\S+)$/m.exec(out) ?? [];
    const words = new URLSearchParams(link.split('#')[1]);
    t.equal(words.get('host'), '192.0.2.1');
    t.match(words.get('secret') ?? '', /^[0-9a-f]{64}$/);
    t.equal(words.get('service'), 'ssh');
    t.match(out, /[█▀▄]{9}/);
    t.notMatch(await ok(world, 'user', 'show', 'ssh', 'alice', ...options), /[█▀▄]{9}/, 'without a terminal');
  },
);

t.test(
  'init with tokens writes a file whose first token opens as soon as it is loaded',
  { skip },
  async t => {
    const world = await tokenWorld(t);
    await world.host('server').listen(22);
    const out = await ok(world, 'init', '--service', 'ssh=22', '--tokens', 'alice');
    const [, secret = ''] = /"token": \{ "secret": "([0-9a-f]{64})", "service": "ssh" \}/.exec(out) ?? [];
    const checked = await call(world, 'check', '--json');
    t.match(JSON.parse(checked.stdout), { valid: true, tokens: { users: 1, hours: 24 } });
    t.equal(checked.stderr, '');
    await ok(world, 'load');
    const key = { secret: Buffer.from(secret, 'hex'), realm: 'default', service: 'ssh' };
    t.ok(await world.opens('client', deriveToken(key, windowAt(Date.now()))));
  },
);

t.test(
  'status says which users have tokens, until when they last, and how many were wrong; never a secret',
  { skip },
  async t => {
    const world = await fileWorld(t);
    const alice = await said(world, 'add', 'ssh', 'alice');
    const token = tokenOf(alice); // that of another minute would not be a repeated one
    await world.opens('client', token);
    await world.sendToken('client', token);
    await world.sendToken('client', 'f'.repeat(32));
    const json = await ok(world, 'status', '--json');
    const { tokens } = JSON.parse(json) as { tokens: { until: string } };
    t.match(tokens, { users: { ssh: ['alice'] }, repeated: 1, wrong: 1, trouble: [] });
    t.ok(Date.parse(tokens.until) > Date.now() + 23 * 3600 * 1000);
    const plain = await ok(world, 'status');
    t.match(plain, /^tokens: ssh \(alice\), until /m);
    const secret = alice.hosts.bastion?.token?.secret ?? '-';
    const { stdout, stderr } = await call(world, 'diff');
    for (const text of [json, plain, stdout, stderr]) t.notMatch(text, secret);
  },
);

t.test(
  'nobody waits for a name server while the name of this server is not known',
  { skip: skip || cannotInject() },
  async t => {
    const world = await fileWorld(t, { loaded: false });
    const calls = async (...words: readonly string[]) => {
      const log = `${world.configFile}.strace`;
      const command = [process.execPath, 'dist/knockd-nft.cjs', '--config', world.configFile, ...words];
      const options = ['-f', '-qq', '-e', 'trace=connect', '-o', log, ...command];
      const { status, stdout } = await world.run('server', 'strace', options, {
        env: { ...world.env, RES_OPTIONS },
      });
      t.equal(status, 0);
      t.match(stdout, /a browser needs an address, and \S+ has none here; give one with --host ADDRESS/);
      return readFileSync(log, 'utf8').match(/htons\(53\)/g)?.length ?? 0;
    };
    t.equal(await calls('user', 'add', 'ssh', 'alice'), 0);
    t.equal(await calls('user', 'show', 'ssh', 'alice'), 0);
    t.not(await calls('user', 'show', 'ssh', 'alice', '--host', 'bastion'), 0, 'a name is looked up');
  },
);

t.test('an option that makes no sense changes nothing', { skip }, async t => {
  const world = await fileWorld(t, { loaded: false });
  const { status, stderr } = await call(world, 'user', 'add', 'ssh', 'alice', '--host', '-x y');
  t.equal(status, 64, stderr);
  t.equal(readFileSync(world.configFile, 'utf8'), FILE);
});
