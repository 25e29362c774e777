/** ICMP errors from anybody that quote packets of ours: they open nothing, end nothing, and are no knocks. */
import t from 'tap';
import { type AddressedPacket, encodePacket } from '../kernel/packet.ts';
import { createTarget, needs, PORTS, SEQUENCES } from './target.ts';

/** Destination unreachable with its codes, source quench, redirect, time exceeded, parameter problem. */
const ERRORS = [
  ...[0, 1, 2, 3, 4, 9, 10, 13].map(code => [3, code] as const),
  [4, 0],
  [5, 1],
  [11, 0],
  [12, 0],
] as const;

t.test('ICMP errors about guarded, knock and token ports change nothing', needs, async t => {
  const target = await createTarget(t, { clients: ['client', 'stranger'] });
  const [server, client] = [target.server.ipv4, target.client.ipv4];
  const stranger = target.host('stranger');
  const error = (quoted: AddressedPacket, [type, code]: readonly [number, number]) => ({
    protocol: 'icmp' as const,
    from: '198.18.0.9',
    to: server,
    type,
    code,
    body: `000004b0${encodePacket(quoted).toString('hex')}`,
    ttl: 64,
  });
  const errors = (quoted: AddressedPacket) => ERRORS.map(kind => error(quoted, kind));
  for (const policy of ['accept', 'drop'] as const) {
    await target.reload(policy === 'drop' ? { policy, public: [80, '5353/udp'] } : {});
    const asked = target.host('server').udp('198.18.9.9', 4000, 'x', { localPort: 4001, timeout: 10_000 });
    let settled = false;
    void asked.then(() => {
      settled = true;
    });
    while (!settled) {
      const question = {
        protocol: 'udp',
        from: server,
        to: '198.18.9.9',
        port: 4000,
        sourcePort: 4001,
      } as const;
      await stranger.control([error(question, [3, 3])]);
      await target.state();
    }
    t.not(await asked, 'silent', `${policy}: the control: the host listens to such errors`);

    await target.host('client').knock(server, SEQUENCES.ssh);
    const session = await target.host('client').open(server, 22, { localPort: 17_000 });
    const inside = await target.inside();
    for (const protocol of ['tcp', 'udp'] as const)
      for (const port of Object.values(PORTS[protocol])) {
        const there = { protocol, from: client, to: server, port, sourcePort: 17_000 } as const;
        const back = { protocol, from: server, to: client, port: 17_000, sourcePort: port } as const;
        await stranger.control([...errors(there), ...errors(back)]);
      }
    t.equal(await session.send('still here'), 'alive');
    t.same(await target.inside(), inside);
    t.same((await target.state()).knocking, []);
    t.equal(await stranger.connect(server, 22), 'silent');
    t.equal(await target.host('client').connect(server, 22), 'open');
    await session.close();
  }
});
