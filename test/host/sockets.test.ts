/** Sockets as /proc lists them are those that the kernel tells of itself; two witnesses. */

import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import { type AddressInfo, connect, createServer } from 'node:net';
import t, { type Test } from 'tap';
import { diagnose } from '../../src/host/access.ts';
import { readListeners } from '../../src/host/listeners.ts';
import { readSessions } from '../../src/host/sessions.ts';
import { hasDiagnostics, listedSockets, listSockets, type SeenSocket } from '../../src/host/sockets.ts';
import type { Connection } from '../../src/netlink/connection.ts';
import { NetlinkError } from '../../src/netlink/errors.ts';
import { readSockets } from '../../src/netlink/inet-diag.ts';

const ALL = 0xfff;
const FAMILIES = { '::': ['::1', '127.0.0.1'], '127.0.0.3': ['127.0.0.3'] } as const;

/** Listeners, and connections to each address of theirs, of which some are IPv4-mapped; returns all their ports. */
async function busy(t: Test): Promise<ReadonlySet<number>> {
  const ports = new Set<number>();
  for (const [address, targets] of Object.entries(FAMILIES)) {
    const server = createServer(socket => socket.on('error', () => {}).resume()).listen(0, address);
    t.teardown(() => server.close());
    await once(server, 'listening');
    const { port } = server.address() as AddressInfo;
    ports.add(port);
    for (const host of targets) {
      const socket = connect(port, host);
      const accepted = once(server, 'connection');
      t.teardown(() => socket.destroy());
      await Promise.all([once(socket, 'connect'), accepted]);
      ports.add(socket.localPort ?? 0);
    }
  }
  const udp = createSocket('udp6').bind(0, '::');
  t.teardown(() => udp.close());
  await once(udp, 'listening');
  return ports.add(udp.address().port);
}

const text = ({ protocol, state, address, port, peer, peerPort, inode }: SeenSocket) =>
  [protocol, state, address.toString('hex'), port, peer.toString('hex'), peerPort, inode].join(' ');

/** A kernel without the module, as it answers. */
const lacking = {
  dump: ({ subject }: { readonly subject: string }) =>
    Promise.reject(new NetlinkError({ subject, errno: 2 })),
} as unknown as Connection;

t.test('each socket is found by both ways, with its addresses, ports, state and program', async t => {
  const ports = await busy(t);
  for (const protocol of ['tcp', 'udp'] as const) {
    const mine = (sockets: readonly SeenSocket[]) =>
      sockets
        .filter(({ port }) => ports.has(port))
        .map(text)
        .sort();
    const asked = mine(await diagnose(it => readSockets(it, protocol, ALL)));
    t.equal(asked.length, protocol === 'tcp' ? 8 : 1, protocol);
    t.strictSame(mine(listedSockets(protocol)), asked, protocol);
    t.strictSame(mine(await listSockets(lacking, protocol, ALL)), asked, protocol);
  }
});

t.test('without the module tcp_diag running connections and listeners are still found', async t => {
  const ports = await busy(t);
  const mine = <S extends { readonly port: number }>(found: readonly S[]) =>
    found
      .filter(({ port }) => ports.has(port))
      .map(it => JSON.stringify(it))
      .sort();
  const sessions = mine(await readSessions(lacking));
  t.equal(sessions.length, 6);
  t.strictSame(sessions, mine(await diagnose(readSessions)));
  t.strictSame(mine(await readListeners(lacking)), mine(await diagnose(readListeners)));
  t.equal(await hasDiagnostics(lacking), false);
  t.equal(await diagnose(hasDiagnostics), true);
});

t.test('any other refusal of the kernel is no missing module', async t => {
  const refusing = {
    dump: () => Promise.reject(new NetlinkError({ subject: 'TCP sockets', errno: 12 })),
  } as unknown as Connection;
  await t.rejects(readSessions(refusing), { code: 'ENOMEM' });
  await t.rejects(hasDiagnostics(refusing), { code: 'ENOMEM' });
});
