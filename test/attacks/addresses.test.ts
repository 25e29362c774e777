/** Packets to addresses that many hosts have: a closed guard answers none of them, as any host. */
import t from 'tap';
import { look } from '../kernel/loaded.ts';
import type { Protocol } from '../kernel/packet.ts';
import { frame, plain } from './frames.ts';
import { createTarget, heard, needs, PORTS } from './target.ts';

const MANY = ['10.77.0.255', '255.255.255.255', '224.0.0.1', 'ff02::1'] as const;
/** Routers' anycast address: they have it as soon as they forward. */
const ANY = 'fd77::';

t.test('a guarded port answers a packet for many hosts as its neighbours do', needs, async t => {
  const target = await createTarget(t, { container: true });
  const answer = async (protocol: Protocol, to: string, port: number) => {
    const family = to.includes(':') ? 'ipv6' : 'ipv4';
    const packet = { protocol, to, from: target.client[family], port, sourcePort: 19_000 } as const;
    // to the server's own Ethernet address, which the server checks first
    const seen = await heard(target, [
      frame(plain(packet), { to: target.macs.server, from: target.macs.client }),
    ]);
    const mine = seen.filter(({ port, about }) => (about?.sourcePort ?? port) === 19_000);
    return mine.map(it => look(it).split(' ').slice(0, 4).join(' ')).join(', ') || 'silence';
  };
  for (const hook of ['input', 'prerouting'])
    for (const closed of ['reject', 'prohibited'])
      await t.test(`hook ${hook}, closed ${closed}`, async t => {
        const ports = [22, 8080, '53-54/udp'];
        await target.reload({ hook, services: { all: { ports, sequence: [1, 3, 5], closed } } });
        for (const protocol of ['tcp', 'udp'] as const) {
          const { reject, neighbour } = PORTS[protocol];
          for (const to of Object.values(target.server))
            t.not(await answer(protocol, to, reject), 'silence', `${protocol} to ${to}: the control`);
          for (const to of MANY) {
            t.equal(await answer(protocol, to, neighbour), 'silence', `${protocol} to ${to}, beside`);
            t.equal(await answer(protocol, to, reject), 'silence', `${protocol} to ${to}`);
          }
          if (closed === 'reject')
            t.equal(
              await answer(protocol, ANY, reject),
              await answer(protocol, ANY, neighbour),
              `${protocol} to ${ANY}`,
            );
        }
        t.equal(await target.arrived(), 0);
      });
});
