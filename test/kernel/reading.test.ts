/** A large set is read whole, also while the kernel moves its elements to a larger table. */
import t from 'tap';
import { load, ssh } from './loaded.ts';
import { built, needs, script } from './swapping.ts';
import { createWorld, sendsLarge } from './world.ts';

const skip = needs.skip || (!sendsLarge && 'such transactions need the CAP_NET_ADMIN of the machine');
const MANY = 60_000;
const ROUNDS = 10;

t.test('a set that has just got very many elements is read whole', { skip }, async t => {
  const world = await createWorld(t);
  await load(world, { services: { ssh } });
  const read = await script(
    world,
    `
    import { withKernel } from ${built('host/access.js')};
    import { addElements, flushSet } from ${built('nftables/element.js')};
    import { ANY_GENERATION, commit } from ${built('nftables/transaction.js')};
    import { readElements, readKernel } from ${built('table/read.js')};
    await withKernel(async ({ connection }) => {
      const [{ sets }] = (await readKernel(connection)).ours;
      const set = sets.find(({ name }) => name === 'ssh_clients_ipv4');
      const elements = Array.from({ length: ${MANY} }, (_, index) => {
        const key = Buffer.from([10, 1, index >> 8, index & 255]);
        return { key, timeout: 3_600_000 };
      });
      for (let left = ${ROUNDS}; left > 0; left--) {
        await commit(connection, addElements('knockd', set, elements), { generation: ANY_GENERATION });
        const there = await readElements(connection, 'knockd', { ...set, count: undefined });
        console.log(new Set(there.map(({ key }) => key.toString('hex'))).size);
        await commit(connection, [flushSet('knockd', set)], { generation: ANY_GENERATION });
      }
    });`,
  );
  t.same(read.trim().split('\n').map(Number), Array(ROUNDS).fill(MANY));
});
