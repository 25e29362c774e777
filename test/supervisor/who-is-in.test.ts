/** Another program replaces our table while a supervisor reads who is in: the next load must know that the new one lacks them. */
import { writeFileSync } from 'node:fs';
import t from 'tap';
import { load, ssh } from '../kernel/loaded.ts';
import { built, needs, script } from '../kernel/swapping.ts';
import { createWorld } from '../kernel/world.ts';

interface Seen {
  /** Whether the supervisor knew no clients before. */
  readonly first: boolean;
  /** Before which question to the kernel the table was replaced, if there were so many. */
  readonly question: number;
  readonly isReplaced: boolean;
  readonly clients: number;
  /** Whether the supervisor takes the table that is there now for the one that they are in. */
  readonly isThere: boolean;
}

t.test('who is in is never taken for clients of a table that lacks them', needs, async t => {
  const world = await createWorld(t);
  await load(world, { services: { ssh } });
  const copy = `${world.configFile}.nft`;
  writeFileSync(copy, `delete table inet knockd\n${await world.list()}`);
  const seen = await script(
    world,
    `
    import { execFileSync } from 'node:child_process';
    import { withKernel } from ${built('host/access.js')};
    import { handleOf, readKernel } from ${built('table/read.js')};
    import { pack } from ${built('supervisor/clients.js')};
    import { whoIsIn } from ${built('supervisor/who-is-in.js')};
    const [copy] = process.argv.slice(1);
    const nft = (...words) => execFileSync('nft', words);
    const client = { service: 'ssh', family: 'ipv4', key: Buffer.from([192, 0, 2, 7]), place: null, timeout: null, until: null, granted: true };
    await withKernel(async ({ connection }) => {
      const dump = connection.dump.bind(connection);
      for (const first of [true, false]) {
        for (let question = 1; question <= 6; question++) {
          nft('add', 'element', 'inet', 'knockd', 'ssh_clients_ipv4', '{ 192.0.2.7 }');
          const { ours: [wanted], generation } = await readKernel(connection);
          const table = first ? undefined : await handleOf(connection, 'knockd');
          let asked = 0;
          connection.dump = request => {
            if (++asked === question) nft('-f', copy);
            return dump(request);
          };
          const known = { table, packed: pack([]), seen: 0, recent: [] };
          const { clients, handle } = await whoIsIn(connection, wanted, known, generation, () => [client]);
          connection.dump = dump;
          const isThere = handle === (await handleOf(connection, 'knockd'));
          console.log(JSON.stringify({ first, question, isReplaced: asked >= question, clients: clients.length, isThere }));
        }
      }
    });`,
    [copy],
  );
  const all = seen
    .trim()
    .split('\n')
    .map(line => JSON.parse(line) as Seen);
  for (const first of [true, false]) {
    const replaced = all.filter(at => at.first === first && at.isReplaced);
    t.ok(replaced.length >= 3, `replaced at ${replaced.length} moments`);
    t.same(
      replaced.filter(({ isThere, clients }) => isThere && clients > 0),
      [],
    );
    if (!first)
      t.ok(
        replaced.every(({ clients }) => clients > 0),
        'and no known client is forgotten',
      );
  }
  t.match(all.at(-1), { isReplaced: false, clients: 1, isThere: true });
});
