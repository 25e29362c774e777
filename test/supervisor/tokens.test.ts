/** Once means once, with a real supervisor: whatever happens to it and to the table, a used token stays used. */
import { readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { until } from '../kernel/loaded.ts';
import { GOOD, type TokenWorld, token, tokens, tokenWorld } from '../kernel/token-world.ts';
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
  'what was used while no supervisor ran stays used when one starts, and reloads all',
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

t.test('unload and load, another name of the table, and a swap forget nothing', { skip }, async t => {
  const world = await used(t);
  const { copy } = world;
  await world.load();
  t.ok(await world.opens('client', copy));
  await world.knockd(['unload'], { env: world.env });
  await world.load();
  t.notOk(await world.opens('stranger', copy), 'after unload');
  t.ok(await world.opens('stranger', token('bob', GOOD)), 'and none was left out');
  await world.load({ ...tokens, table: 'renamed' });
  t.notOk(await world.opens('client', token('bob', GOOD)), 'under another name');
  t.ok(await world.opens('client', token('bob', GOOD + 1)), 'and none was left out');
  await world.load({ ...tokens, table: 'renamed', policy: 'drop' });
  t.notOk(await world.opens('third', token('bob', GOOD + 1)), 'after a swap');
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

t.test('a used token stays used where uses cannot be written down', { skip }, async t => {
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
