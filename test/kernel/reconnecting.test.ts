/** A SYN is a new connection, whatever is known of its ports. */
import t, { type Test } from 'tap';
import { families, load, loadedWorld, serviceOf, ssh, sshKnocks, until } from './loaded.ts';
import type { Packet } from './packet.ts';
import { endings, makeByHand, RawConnection, syns } from './raw-connection.ts';
import { createWorld, missing, type World } from './world.ts';

const needs = { skip: missing('namespaces', 'knockd', 'nft') };

/** Ends all openings, and nothing else. */
async function endOpenings(world: World, service = 'ssh'): Promise<void> {
  for (const family of families) await world.nft(`flush set inet knockd ${service}_clients_${family}`);
}

const doors: Readonly<Record<string, { readonly config: object; readonly container?: true }>> = {
  'at input': { config: { services: { ssh } } },
  'that answers with a reset': { config: { services: { ssh: { ...ssh, closed: 'reject' } } } },
  'under policy drop': { config: { policy: 'drop', services: { ssh } } },
  'for single use': { config: { services: { ssh: { ...ssh, singleUse: true } } } },
  'before DNAT, of this host': { config: { hook: 'prerouting', services: { ssh } } },
  'before DNAT, of a container': { config: { hook: 'prerouting', services: { ssh } }, container: true },
};

/** A server that is loaded, with a program behind the guarded port 22, on itself or in a container. */
async function serving(t: Test, config: object, container = false): Promise<World> {
  const world = await loadedWorld(t, config, { container });
  if (container) {
    await world.host('container').listen(80);
    await world.publish(22, 80);
  } else await world.host('server').listen(22);
  return world;
}

/** The source ports of those packets that the service answers with SYN and ACK. */
async function letInOf(world: World, packets: readonly Packet[]): Promise<readonly number[]> {
  const captured = await world.host('client').capture({ protocol: 'tcp' });
  await world.host('client').send(packets);
  const seen = await captured.end();
  return seen.filter(({ flags }) => flags.includes('syn') && flags.includes('ack')).map(({ port }) => port);
}

for (const [name, { config, container }] of Object.entries(doors))
  t.test(`no SYN from the port of an old connection passes a closed guard ${name}`, needs, async t => {
    const world = await serving(t, config, container);
    await makeByHand(world);
    for (const family of families) {
      const to = world.server[family];
      const connections = endings.map((_, index) => new RawConnection(world, to, 22, 40_000 + index));
      for (const [index, connection] of connections.entries()) {
        await world.host('client').knock(to, sshKnocks);
        t.ok(await connection.leave(endings[index] ?? 'open'), `let in, to be left ${endings[index]}`);
      }
      await endOpenings(world);
      for (const dress of [...syns, ...syns.slice(0, 1)]) {
        const tries = connections.flatMap(connection => [
          connection.newSyn(dress),
          connection.sameSyn(dress),
          connection.acknowledgment(),
        ]);
        t.same(await letInOf(world, tries), [], `${family}, ${dress.flags?.join(' and ')}`);
      }
    }
  });

t.test('a connection on record from before the guard is no pass, acknowledged or not', needs, async t => {
  const world = await createWorld(t);
  await world.host('server').listen(22);
  await makeByHand(world);
  for (const family of families) {
    const connection = new RawConnection(world, world.server[family], 22, 40_000);
    await connection.leave('open');
    await load(world, { services: { ssh } });
    const tries = () => syns.flatMap(dress => [connection.acknowledgment(), connection.newSyn(dress)]);
    t.same(await letInOf(world, tries()), []);
    // tracking, which has not seen the connection, does not see its end
    await world.run('server', 'conntrack', ['-F']);
    await world.run('server', 'ss', ['-K', 'dport', '=', ':40000']);
    t.same(await letInOf(world, tries()), [], 'nor when it has ended');
    await world.nft('delete table inet knockd');
  }
});

for (const closed of ['drop', 'reject'])
  t.test(`a SYN whose answer was lost may come again, when others see "${closed}"`, needs, async t => {
    for (const singleUse of [false, true]) {
      const world = await serving(t, { services: { ssh: { ...ssh, closed, singleUse } } });
      await makeByHand(world);
      for (const family of families) {
        const to = world.server[family];
        const connection = new RawConnection(world, to, 22, 40_000);
        await world.host('client').knock(to, sshKnocks);
        t.ok(await connection.syn());
        await endOpenings(world);
        t.ok(await connection.syn(connection.sameSyn()), 'and is answered again');
        const other = new RawConnection(world, to, 22, 40_001);
        t.notOk(await other.syn(), 'another does not');
      }
      t.equal((await serviceOf(world, 'ssh')).accepted, 2, 'it is counted once');
    }
  });

/** `1m14s900ms` in milliseconds. */
function milliseconds(text: string): number {
  const units = { m: 60_000, s: 1000, ms: 1 } as const;
  return [...text.matchAll(/(\d+)(ms|m|s)/g)].reduce(
    (sum, [, count, unit]) => sum + Number(count) * units[unit as keyof typeof units],
    0,
  );
}

t.test('the time in which a SYN may come again does not begin again', needs, async t => {
  const world = await serving(t, { services: { ssh } });
  await makeByHand(world);
  for (const family of families) {
    const to = world.server[family];
    const connection = new RawConnection(world, to, 22, 40_000);
    await world.host('client').knock(to, sshKnocks);
    t.ok(await connection.syn());
    await endOpenings(world);
    const left = async () =>
      milliseconds((await world.list()).match(/timeout 1m15s expires (\w+)/)?.[1] ?? '');
    const before = await left();
    t.ok(before > 0);
    t.ok(await connection.syn(connection.sameSyn()));
    t.ok((await left()) < before, `${before} ms were left`);
    await world.nft(`flush set inet knockd syns_${family}`); // as time does
    t.notOk(await connection.syn(connection.sameSyn()), 'too late');
  }
});

t.test('a client that is in may connect again from the same port', needs, async t => {
  const world = await serving(t, { services: { ssh } });
  for (const family of families) {
    const to = world.server[family];
    await world.host('client').knock(to, sshKnocks);
    for (let count = 0; count < 3; count++)
      t.equal(await world.host('client').connect(to, 22, { localPort: 17_000 }), 'open');
  }
  t.match(await serviceOf(world, 'ssh'), { accepted: 6 });
});

t.test('under policy drop the SYN of the other end passes while this host connects to it', needs, async t => {
  const world = await loadedWorld(t, { policy: 'drop', services: { ssh } });
  const input =
    'table inet deaf { chain input { type filter hook input priority 0; tcp dport 40000-40001 drop; }; }';
  t.equal((await world.run('client', 'nft', ['-f', '-'], { input })).status, 0);
  for (const family of families) {
    const [server, client] = [world.server[family], world.client[family]];
    const connecting = world.host('server').connect(client, 40_000, { localPort: 17_000, timeout: 5_000 });
    await until(
      () => world.run('server', 'ss', ['-Htn', 'state', 'syn-sent']),
      ({ stdout }) => stdout.includes(':17000'),
    );
    const syn = { protocol: 'tcp', to: server, port: 17_000, sourcePort: 40_000 } as const;
    t.same((await world.host('client').ask(syn))?.flags, ['syn', 'ack'], family);
    t.equal(await world.host('client').ask({ ...syn, sourcePort: 40_001 }), null, 'another one does not');
    t.equal(await connecting, 'silent');
  }
});
