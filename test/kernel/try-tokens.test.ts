/** Trials of configurations with tokens: what was used stays used, whichever way they end. */
import { writeFileSync } from 'node:fs';
import t from 'tap';
import { GOOD, token, tokens, tokenWorld } from './token-world.ts';
import { candidate, startTry, trying } from './trying.ts';
import { missing } from './world.ts';

const needs = { skip: missing('namespaces', 'nft', 'knockd') };

for (const [what, change] of [
  ['of the same table', { policy: 'drop' }],
  ['under another name', { table: 'renamed' }],
] as const)
  t.test(`a trial ${what}, undone: used tokens stay used, and fresh ones open`, needs, async t => {
    const world = await tokenWorld(t, { clients: ['client', 'stranger'] });
    await world.load();
    await world.host('server').listen(22);
    const [before, during] = [token('alice', GOOD), token('alice', GOOD + 3)];
    t.ok(await world.opens('client', before));
    const file = candidate(world, { ...tokens, ...change });
    const trial = startTry(world, [file, '--for', '5m'], world.env);
    await trial.line(trying);
    t.notOk(await world.opens('stranger', before), 'while it is tried');
    t.ok(await world.opens('client', during), 'a fresh one while it is tried');
    const undone = await world.knockd(['undo'], { env: world.env });
    t.equal(undone.status, 0, undone.stderr);
    t.equal(undone.stderr, '', 'nothing is missing');
    for (const copy of [before, during]) t.notOk(await world.opens('stranger', copy), 'when it was undone');
    t.ok(await world.opens('stranger', token('bob', GOOD + 6)), 'a fresh one');
  });

t.test('a trial that first has tokens leaves none behind', needs, async t => {
  const world = await tokenWorld(t);
  await world.host('server').listen(22);
  writeFileSync(world.configFile, '{}');
  const trial = startTry(world, [candidate(world, tokens), '--for', '5m'], world.env);
  await trial.line(trying);
  await world.sendToken('client', token('alice', GOOD));
  t.match(
    await world.list(),
    /ssh_opened \{\s+packets 1 /,
    'it opens; a client that came in would confirm the trial',
  );
  t.equal((await world.knockd(['undo'], { env: world.env })).status, 0);
  t.notMatch(await world.list(), /tokens/);
});

t.test('a token of a secret that is new confirms a trial, once somebody comes in with it', needs, async t => {
  const world = await tokenWorld(t);
  await world.host('server').listen(22);
  writeFileSync(world.configFile, '{}');
  const trial = startTry(world, [candidate(world, tokens), '--for', '5m'], world.env);
  await trial.line(/^ {2}- or knock, and connect: that confirms it by itself\.$/);
  t.ok(await world.opens('client', token('alice', GOOD)));
  await trial.line(/^confirmed by a knock: a client opened ssh as alice and came in/);
});
