/** The listeners here, by the kernel that the test runs on. */
import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import { type AddressInfo, createServer } from 'node:net';
import t, { type Test } from 'tap';
import { listeners } from '../../src/host/access.ts';

async function tcp(t: Test, host: string): Promise<number> {
  const server = createServer().listen(0, host);
  t.teardown(() => server.close());
  await once(server, 'listening');
  return (server.address() as AddressInfo).port;
}

async function udp(t: Test, address: string): Promise<number> {
  const socket = createSocket('udp4').bind(0, address);
  t.teardown(() => socket.close());
  await once(socket, 'listening');
  return socket.address().port;
}

t.test(
  'TCP listeners and UDP sockets without a peer are found, and whether others can reach them',
  async t => {
    const wanted = [
      { protocol: 'tcp', port: await tcp(t, '0.0.0.0'), loopback: false },
      { protocol: 'tcp', port: await tcp(t, '127.0.0.2'), loopback: true },
      { protocol: 'udp', port: await udp(t, '0.0.0.0'), loopback: false },
      { protocol: 'udp', port: await udp(t, '127.0.0.1'), loopback: true },
    ];
    const found = await listeners();
    for (const it of wanted)
      t.strictSame(
        found
          .filter(({ protocol, port }) => protocol === it.protocol && port === it.port)
          .map(({ protocol, port, loopback }) => ({ protocol, port, loopback })),
        [it],
        `${it.port}/${it.protocol}`,
      );
  },
);

t.test('a connection is no listener, nor is a UDP socket with a peer', async t => {
  const port = await udp(t, '127.0.0.1');
  const socket = createSocket('udp4');
  t.teardown(() => socket.close());
  socket.connect(port, '127.0.0.1');
  await once(socket, 'connect');
  const { port: local } = socket.address();
  t.notOk((await listeners()).some(it => it.protocol === 'udp' && it.port === local));
});
