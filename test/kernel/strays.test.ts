/** Packets to ports that the configuration does not name. */
import t from 'tap';
import { families, knocking, load, loadedWorld, ssh, sshKnocks } from './loaded.ts';
import type { Packet } from './packet.ts';
import { missing, type World } from './world.ts';

const needs = { skip: missing('namespaces', 'knockd') };

/** Two knocks, the packets, and how far the client is then: 0 for back at the start. */
async function stepAfter(world: World, family: 'ipv4' | 'ipv6', packets: readonly Packet[]): Promise<number> {
  const client = world.host('client');
  await client.knock(world.server[family], sshKnocks.slice(0, 2));
  await client.send(packets);
  const from = `${world.client[family]} ssh `;
  const place = (await knocking(world)).find(text => text.startsWith(from));
  return Number(place?.slice(from.length).split('/')[0] ?? 0);
}

t.test('a stray puts a client in mid-sequence back to the start', needs, async t => {
  const world = await loadedWorld(t, { services: { ssh } });
  for (const family of families) {
    const to = world.server[family];
    for (const protocol of ['tcp', 'udp'] as const)
      t.equal(await stepAfter(world, family, [{ protocol, to, port: 9999 }]), 0, `${protocol}, ${family}`);
  }
});

t.test('a stray after the first knock counts as well', needs, async t => {
  const world = await loadedWorld(t, { services: { ssh } });
  await world.host('server').listen(22);
  await world.host('client').knock(world.server.ipv4, ['10000/tcp', '10001/tcp']);
  t.same(await knocking(world), []);
  await world.host('client').knock(world.server.ipv4, sshKnocks.slice(1));
  t.equal(await world.host('client').connect(world.server.ipv4, 22), 'silent');
});

t.test("another client's stray is no business of who knocks", needs, async t => {
  const world = await loadedWorld(t, { services: { ssh } }, { clients: ['client', 'other'] });
  await world.host('client').knock(world.server.ipv4, sshKnocks.slice(0, 2));
  await world.host('other').knock(world.server.ipv4, ['9999/tcp', '9999/udp']);
  t.same(await knocking(world), ['10.77.0.2 ssh 2/4']);
});

t.test('a packet to a port where a socket listens is no stray', needs, async t => {
  const world = await loadedWorld(t, { services: { ssh } });
  const server = world.host('server');
  await server.listen(80);
  await server.listen(53, { protocol: 'udp' });
  await server.listen(81, { address: world.server.ipv4 });
  for (const family of families) {
    const to = world.server[family];
    t.equal(await stepAfter(world, family, [{ protocol: 'tcp', to, port: 80 }]), 2, `a SYN, ${family}`);
    t.equal(await stepAfter(world, family, [{ protocol: 'udp', to, port: 53 }]), 2, `UDP, ${family}`);
    t.equal(await stepAfter(world, family, [{ protocol: 'udp', to, port: 80 }]), 0, 'TCP listens, not UDP');
  }
  const to = world.server.ipv4;
  t.equal(await stepAfter(world, 'ipv4', [{ protocol: 'tcp', to, port: 81 }]), 2, 'on one address');
});

t.test('a packet to a port where only the server itself can reach a socket is a stray', needs, async t => {
  const world = await loadedWorld(t, { services: { ssh } });
  await world.host('server').listen(631, { address: '127.0.0.1' });
  const to = world.server.ipv4;
  t.equal(await stepAfter(world, 'ipv4', [{ protocol: 'tcp', to, port: 631 }]), 0);
});

t.test('a packet to a public or a guarded port is no stray, even if nobody listens', needs, async t => {
  const services = { ssh, range: { ...ssh, ports: ['6000-6010/udp'], sequence: [4000, 5000, 6100] } };
  const world = await loadedWorld(t, { services, public: [80, '5000-5010/udp'] });
  for (const family of families) {
    const to = world.server[family];
    const packets = [
      { protocol: 'tcp', to, port: 80 },
      { protocol: 'udp', to, port: 5005 },
      { protocol: 'tcp', to, port: 22 },
      { protocol: 'udp', to, port: 6010 },
    ] as const;
    t.equal(await stepAfter(world, family, packets), 2);
    t.equal(await stepAfter(world, family, [{ protocol: 'udp', to, port: 80 }]), 0, 'of another protocol');
    t.equal(await stepAfter(world, family, [{ protocol: 'udp', to, port: 6011 }]), 0, 'behind the range');
  }
});

t.test('with strict off no stray puts anybody back, wrong knocks still do', needs, async t => {
  const world = await loadedWorld(t, { services: { ssh }, strict: false });
  for (const family of families) {
    const to = world.server[family];
    const strays = [
      { protocol: 'tcp', to, port: 9999 },
      { protocol: 'udp', to, port: 9999 },
    ] as const;
    t.equal(await stepAfter(world, family, strays), 2);
    t.equal(await stepAfter(world, family, [{ protocol: 'tcp', to, port: 1234 }]), 0);
  }
  await load(world, { services: { ssh }, strict: true });
  const to = world.server.ipv4;
  t.equal(await stepAfter(world, 'ipv4', [{ protocol: 'tcp', to, port: 9999 }]), 0, 'strict again');
});
