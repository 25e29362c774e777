/** Once means once, with a real supervisor: whatever happens to it and to the table, a used token stays used. */
import { readFileSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import t, { type Test } from 'tap';
import type { Ledger } from '../../src/feeder/ledger.ts';
import { deriveToken, windowAt } from '../../src/token/derive.ts';
import { bootOf } from '../boot.ts';
import { until } from '../kernel/loaded.ts';
import { GOOD, SECRETS, type TokenWorld, token, tokens, tokenWorld } from '../kernel/token-world.ts';
import { skip } from './supervised.ts';

/** The client used a token; the stranger has a copy of it. */
async function used(t: Test): Promise<TokenWorld & { readonly copy: string }> {
  const world = await tokenWorld(t, { clients: ['client', 'stranger', 'third'] });
  await world.host('server').listen(22);
  return Object.assign(world, { copy: token('alice', GOOD) });
}

/** The table stands, with tokens in it. */
const fed = (world: TokenWorld) =>
  until(
    () => world.list(),
    listing => /map tokens \{[^}]*elements/.test(listing),
  );

t.test('a table that is flushed as soon as a token was used comes back without it', { skip }, async t => {
  const world = await used(t);
  await world.supervise();
  for (let ahead = GOOD; ahead < GOOD + 5; ahead++) {
    const copy = token('alice', ahead);
    await world.sendToken('client', copy);
    await world.nft('flush ruleset');
    await fed(world);
    t.notOk(await world.opens('stranger', copy), `the token of window ${ahead} again`);
  }
  t.ok(await world.opens('stranger', token('bob', GOOD)), 'a fresh one');
});

t.test(
  'a token is used, or it is not, when another program flushes all at that moment',
  { skip },
  async t => {
    const FLUSHES = 10;
    const world = await tokenWorld(t, { clients: ['client', 'stranger', 'third'] });
    const users = Array.from({ length: 20 }, (_, index) => `u${index}`);
    const [early, late] = [users.slice(0, 10), users.slice(10)];
    const secretOf = (user: string) => user.slice(1).padStart(2, 'a').repeat(32);
    const { ssh } = tokens.services;
    const supervisor = await world.supervise({
      services: { ssh: { ...ssh, tokens: Object.fromEntries(users.map(user => [user, secretOf(user)])) } },
      token: { hours: 1 },
    });
    const of = (user: string, window: number) =>
      deriveToken({ secret: Buffer.from(secretOf(user), 'hex'), realm: 'default', service: 'ssh' }, window);
    const send = (host: string, from: readonly string[], window: number) =>
      Promise.all(from.map(user => world.sendToken(host, of(user, window))));
    const opened = async () => Number(/counter ssh_opened \{\s+packets (\d+)/.exec(await world.list())?.[1]);
    const ledger = () =>
      JSON.parse(readFileSync(join(world.env.STATE_DIRECTORY, 'tokens.json'), 'utf8')) as Ledger;
    /** The users whose use of that window is written down. */
    const noted = (from: readonly string[], window: number) => {
      const { fed, used } = ledger();
      const ids = Object.entries(fed?.users ?? {});
      return from.filter(user => ids.some(([id, one]) => one.user === user && used[id]?.includes(window)));
    };
    const start = join(dirname(world.configFile), 'start');
    await world.run('server', 'mkfifo', [start]);
    for (const host of ['client', 'stranger', 'third']) await world.host(host).knock(world.server.ipv4, []);
    let [read, unread, after] = [0, 0, 0];
    for (let flush = 0; flush < FLUSHES; flush++) {
      const window = windowAt(Date.now()) + GOOD + 3 * flush;
      const flushed = world.run('server', 'sh', [
        '-c',
        'read -r line <"$0" && exec nft flush ruleset',
        start,
      ]);
      // every other time the supervisor sees nothing before it is too late
      if (flush % 2 === 1) supervisor.signal('SIGSTOP');
      await send('client', early, window);
      writeFileSync(start, 'now\n');
      const sent = late.map(async (user, index) => {
        await delay(index);
        await send('client', [user], window);
      });
      await Promise.all([flushed, ...sent]);
      const atOnce = noted(users, window).length;
      supervisor.signal('SIGCONT');
      await fed(world);
      const before = await opened();
      await send('stranger', early, window);
      t.equal(await opened(), before, `flush ${flush}: those that were used before`);
      const known = noted(late, window).length;
      await send('stranger', late, window);
      const again = (await opened()) - before;
      t.ok(again <= late.length - known, `${known} of ${late.length} are known, ${again} opened afterwards`);
      await send('third', late, window);
      t.equal((await opened()) - before, again, 'and those once');
      await send('third', users, window + 1);
      t.equal((await opened()) - before - again, users.length, 'fresh ones');
      t.equal(noted(early, window).length, early.length, 'each is written down');
      read += atOnce;
      unread += early.length + known - atOnce;
      after += again;
    }
    t.comment(
      `of ${FLUSHES * users.length} uses ${read} had been read when the table was gone, ${unread} not yet, ${after} tokens came when there was none`,
    );
  },
);

t.test(
  'a token that was used while no supervisor ran stays used when one starts, and reloads all',
  { skip },
  async t => {
    const world = await used(t);
    const { copy } = world;
    const first = await world.supervise();
    await first.stop('SIGKILL');
    t.ok(await world.opens('client', copy));
    await world.supervise();
    t.notOk(await world.opens('stranger', copy));
    await world.nft('flush ruleset');
    await fed(world);
    t.notOk(await world.opens('stranger', copy), 'after a flush, too');
    t.ok(await world.opens('stranger', token('bob', GOOD)), 'a fresh one');
  },
);

t.test('a process that keeps the record of used tokens keeps no table away', { skip }, async t => {
  const world = await used(t);
  const supervisor = await world.supervise();
  const other = world.start('server', 'flock', [
    '-F',
    world.env.STATE_DIRECTORY,
    'sh',
    '-c',
    'echo has it; exec sleep infinity',
  ]);
  await other.line(/has it/);
  await world.sendToken('client', world.copy);
  await supervisor.line(/"event":"opened"/);
  await world.nft('flush ruleset');
  const guards = (rules: string) => rules.includes('tcp . 22 : goto guard_ssh');
  t.ok(guards(await until(() => world.list(), guards)));
  const lines = () => supervisor.lines().join('\n');
  t.notMatch(lines(), /cannot be fed/, 'before it gives up writing the use down');
  t.match(
    await until(
      async () => lines(),
      text => text.includes('cannot be fed'),
    ),
    /cannot be fed/,
    'as it does',
  );
  await other.stop('SIGKILL');
});

t.test('a ruleset that was saved before does not bring a used token back', { skip }, async t => {
  const world = await used(t);
  const { copy } = world;
  const supervisor = await world.supervise();
  await fed(world);
  const saved = await world.list();
  t.ok(await world.opens('client', copy));
  await world.nft(`flush ruleset\n${saved}`);
  await supervisor.line(/"event":"restored"/);
  t.notOk(await world.opens('stranger', copy));
  t.ok(await world.opens('stranger', token('bob', GOOD)), 'a fresh one');
});

t.test(
  'a ruleset that was saved on the boot before, with its handle and mark, is none whose uses are known',
  { skip },
  async t => {
    const [before, after] = [await used(t), await used(t)];
    const ledgerOf = ({ env }: TokenWorld) => join(env.STATE_DIRECTORY, 'tokens.json');
    for (const world of [before, after]) {
      await world.load();
      await world.knockd(['unload'], { env: world.env });
    }
    const clean = JSON.parse(readFileSync(ledgerOf(before), 'utf8'));
    writeFileSync(ledgerOf(before), JSON.stringify({ ...clean, floor: 0 }));
    const load = (world: TokenWorld, boot: string) =>
      world.knockd(['load'], { env: { ...world.env, ...bootOf(boot) } });
    t.match(await load(before, '1'), { status: 0 });
    const saved = await before.list();
    const copy = token('alice', 1);
    t.ok(await before.opens('client', copy), 'nobody notes it, and the machine crashes');
    writeFileSync(ledgerOf(after), readFileSync(ledgerOf(before)));
    await after.nft(saved);
    t.match(await load(after, '2'), { status: 0, stdout: /no program watched the tokens/ });
    t.notOk(await after.opens('stranger', copy));
    t.ok(await after.opens('stranger', token('bob', GOOD)), 'a fresh one');
  },
);

t.test('a user who gets another name and keeps the secret keeps his used tokens used', { skip }, async t => {
  const world = await used(t);
  const { alice, bob } = SECRETS;
  const renamed = { services: { ssh: { ...tokens.services.ssh, tokens: { phone: alice, bob } } } };
  await world.load();
  t.ok(await world.opens('client', world.copy));
  await world.knockd(['unload'], { env: world.env });
  const next = token('alice', GOOD + 1);
  await world.load(renamed);
  t.notOk(await world.opens('stranger', world.copy), 'while nothing was loaded');
  t.ok(await world.opens('stranger', next), 'a fresh one');
  const supervisor = await world.supervise();
  await world.nft('flush ruleset');
  await supervisor.line(/"event":"restored"/);
  await fed(world);
  t.notOk(await world.opens('third', next), 'back to the former name, and the table was flushed');
});

t.test('unload and load, another name of the table, and a swap forget nothing', { skip }, async t => {
  const world = await used(t);
  const { copy } = world;
  const [first, second] = [token('bob', GOOD), token('bob', GOOD + 1)]; // once: the minute may end
  await world.load();
  t.ok(await world.opens('client', copy));
  await world.knockd(['unload'], { env: world.env });
  await world.load();
  t.notOk(await world.opens('stranger', copy), 'after unload');
  t.ok(await world.opens('stranger', first), 'and none was left out');
  await world.load({ ...tokens, table: 'renamed' });
  t.notOk(await world.opens('client', first), 'under another name');
  t.ok(await world.opens('client', second), 'and none was left out');
  await world.load({ ...tokens, table: 'renamed', policy: 'drop' });
  t.notOk(await world.opens('third', second), 'after a swap');
});

t.test('a client that went ahead cannot be followed by one of its earlier tokens', { skip }, async t => {
  const world = await used(t);
  await world.supervise();
  t.ok(await world.opens('client', token('alice', GOOD + 2)));
  await until(
    () => world.list(),
    listing => (/set used \{[^}]*\}/.exec(listing)?.[0].match(/expires/g)?.length ?? 0) === 3,
  );
  for (const earlier of [GOOD, GOOD + 1]) t.notOk(await world.opens('stranger', token('alice', earlier)));
  t.ok(await world.opens('stranger', token('alice', GOOD + 3)));
});

t.test('topping up and noting uses are no changes by another program', { skip }, async t => {
  const world = await used(t);
  const supervisor = await world.supervise();
  t.ok(await world.opens('client', world.copy));
  await supervisor.line(/"event":"opened"/);
  await until(
    () => world.list(),
    listing => (/set used \{[^}]*\}/.exec(listing)?.[0].match(/expires/g)?.length ?? 0) === 3,
  );
  await world.nft('add table inet other');
  await world.opens('client', token('bob', GOOD));
  t.same(
    supervisor.lines().filter(line => line.includes('"restored"')),
    [],
  );
});

t.test('a map of tokens that another program flushes is filled again', { skip }, async t => {
  const world = await used(t);
  await world.supervise();
  await fed(world);
  t.ok(await world.opens('client', world.copy));
  await world.nft('flush map inet knockd tokens');
  await fed(world);
  t.notOk(await world.opens('stranger', world.copy), 'the used one');
  t.ok(await world.opens('stranger', token('bob', GOOD)), 'a fresh one');
});

t.test('a used token stays used even if uses cannot be written down', { skip }, async t => {
  const world = await used(t);
  await world.load();
  await world.knockd(['unload'], { env: world.env });
  const ledger = join(world.env.STATE_DIRECTORY, 'tokens.json');
  writeFileSync(ledger, JSON.stringify({ ...JSON.parse(readFileSync(ledger, 'utf8')), floor: 0 }));
  await world.supervise();
  await fed(world);
  const copy = token('alice', 0);
  rmSync(world.env.STATE_DIRECTORY, { recursive: true });
  writeFileSync(world.env.STATE_DIRECTORY, 'no folder');
  t.ok(await world.opens('client', copy));
  for (const round of [1, 2]) {
    await world.nft('flush ruleset');
    await fed(world);
    t.notOk(await world.opens('stranger', copy), `after flush ${round}`);
  }
  t.ok(await world.opens('stranger', token('bob', GOOD + 1)), 'a fresh one, above what may have been used');
});

t.test('a used token of a client whose clock is far ahead stays used, too', { skip }, async t => {
  const world = await used(t);
  const copy = token('alice', 40);
  await world.load();
  t.ok(await world.opens('client', copy), 'nobody watches');
  await world.knockd(['unload'], { env: world.env });
  await world.load();
  t.notOk(await world.opens('stranger', copy));
  t.ok(await world.opens('stranger', token('bob', GOOD)), 'and none was left out');
});

t.test('each command says if used tokens cannot be written down, and with what effect', { skip }, async t => {
  const world = await used(t);
  const { env } = world;
  await world.load();
  t.ok(await world.opens('client', world.copy));
  rmSync(env.STATE_DIRECTORY, { recursive: true });
  writeFileSync(env.STATE_DIRECTORY, 'no folder');
  const costs =
    /^knockd-nft: used tokens cannot be remembered: .*state.*; so the next start leaves out those of five minutes$/m;
  const { stdout, stderr } = await world.knockd(['status'], { env });
  t.match(stdout, /^TOKENS: there is no record of used ones: .*state/m, stderr);
  const unloaded = await world.knockd(['unload'], { env });
  t.match(unloaded, { status: 0, stderr: costs });
  const last = token('alice', 4); // of those that are left out, also if the minute ends before the load
  const loaded = await world.knockd(['load'], { env });
  t.match(loaded, { status: 0, stdout: /^tokens: 2 users, until .*, from .* on: /m, stderr: costs });
  t.notOk(await world.opens('stranger', last), 'they are left out');
  const without = {
    services: { ssh: { ...tokens.services.ssh, tokens: undefined, sequence: [7001, 7003, 7002] } },
  };
  world.write(without);
  t.match(
    await world.knockd(['load'], { env }),
    { status: 0, stderr: costs },
    'also where no token is wanted',
  );
  const supervisor = await world.supervise();
  t.match(supervisor.lines().join('\n'), /"level":40.*used tokens cannot be remembered: /);
});

t.test(
  'nothing is left of a user who goes from the file, at once, and others are not fed again',
  { skip },
  async t => {
    const world = await used(t);
    const { bob, alice } = SECRETS;
    const file = (users: object) => ({
      services: { ssh: { ...tokens.services.ssh, tokens: users } },
      token: { hours: 1 },
    });
    await world.supervise(file({ alice, bob }));
    t.ok(await world.opens('client', world.copy));
    t.ok(await world.opens('third', token('bob', GOOD)));
    const of = (user: 'alice' | 'bob') => `0x${Buffer.from(token(user, 30)).toString('hex')}`;
    const map = async () =>
      (await world.run('server', 'nft', ['list', 'map', 'inet', 'knockd', 'tokens'])).stdout;
    const id = (await map()).match(/0x[0-9a-f]+ : 0x00000000/)?.[0] ?? '';
    t.match(await map(), of('alice'));
    const start = performance.now();
    world.write(file({ bob }));
    const ofClient = new RegExp(`${world.client.ipv4.replaceAll('.', '\\.')} `);
    await until(
      async () => `${await map()}${await world.list()}`,
      listing => !listing.includes(of('alice')) && !ofClient.test(listing),
    );
    t.comment(`gone ${Math.round(performance.now() - start)} ms after the file was saved`);
    t.notOk(await world.opens('stranger', token('alice', GOOD + 1)), 'his next token');
    const after = await map();
    t.ok(id !== '' && after.includes(id), 'the map is the same');
    t.match(after, of('bob'));
    t.match(await world.list(), `${world.addresses('third').ipv4} `, 'who came in as another stays in');
  },
);
