/** Trials of configurations with tokens: what was used stays used, whichever way they end. */
import { mkdirSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
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

t.test(
  'a candidate in another folder is tried, and confirmed, with the secrets of its place',
  needs,
  async t => {
    const world = await tokenWorld(t);
    await world.host('server').listen(22);
    writeFileSync(world.configFile, '{}');
    const elsewhere = join(dirname(world.configFile), 'staged');
    mkdirSync(elsewhere);
    const secretFile = join(dirname(world.configFile), 'alice.key');
    const file = join(elsewhere, 'new.json');
    const { ssh } = tokens.services;
    const config = { ...tokens, services: { ssh: { ...ssh, tokens: { alice: { file: 'alice.key' } } } } };
    writeFileSync(file, JSON.stringify(config), { mode: 0o600 });
    // a secret beside the candidate is none of the configuration's
    writeFileSync(join(elsewhere, 'alice.key'), 'f'.repeat(64), { mode: 0o600 });
    const refused = await world.knockd(['try', file], { env: world.env });
    t.equal(refused.status, 78);
    t.match(refused.stderr, `${file}:1:`, 'the place of the mistake');
    t.match(refused.stderr, `${secretFile}: there is no such file`);
    writeFileSync(secretFile, ssh.tokens.alice, { mode: 0o600 });
    const trial = startTry(world, [file, '--for', '5m'], world.env);
    await trial.line(trying);
    const { status, stderr } = await world.knockd(['confirm'], { env: world.env });
    t.equal(status, 0, stderr);
    t.ok(await world.opens('client', token('alice', GOOD)));
    t.match(
      await world.knockd(['diff'], { env: world.env }),
      { status: 0 },
      'the kernel has what the file says',
    );
  },
);
