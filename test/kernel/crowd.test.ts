/** As many clients as fit, in both families: each is reported once, and the kernel is asked in few, large pieces. */
import t from 'tap';
import { lacking } from './process.ts';
import { createWorld, missing, sendsLarge } from './world.ts';

const skip =
  missing('namespaces', 'nft', 'knockd') ||
  lacking('strace') ||
  (!sendsLarge && 'such transactions need the CAP_NET_ADMIN of the machine');
const FULL = 65_535;
/** In one transaction of nft's. */
const PART = 13_107;

t.test('status with 131,070 clients in', { skip }, async t => {
  const world = await createWorld(t);
  world.write({ services: { ssh: { ports: [22], sequences: { alice: [10000, 2345, 3456] } } } });
  await world.knockd(['load']);
  const address = {
    ipv4: (index: number) => `10.0.${index >> 8}.${index & 255}`,
    ipv6: (index: number) => `2001:db8::${index.toString(16)}`,
  };
  for (const family of ['ipv4', 'ipv6'] as const)
    for (let first = 1; first <= FULL; first += PART) {
      const part = Array.from({ length: PART }, (_, index) => address[family](first + index));
      await world.nft(`add element inet knockd ssh_clients_${family} { ${part.join(', ')} }`);
    }
  const words = ['-f', '-qq', '-e', 'trace=recvmsg', '-c', process.execPath, 'dist/knockd-nft.cjs'];
  const { status, stdout, stderr } = await world.run('server', 'strace', [
    ...words,
    ...['--config', world.configFile, 'status', '--json'],
  ]);
  t.equal(status, 0);
  const { clients } = JSON.parse(stdout).services.ssh as { clients: { address: string }[] };
  t.equal(clients.length, 2 * FULL);
  t.equal(new Set(clients.map(({ address }) => address)).size, 2 * FULL);
  const calls = Number(/^ *[\d.]+ +[\d.]+ +\d+ +(\d+) .*recvmsg$/m.exec(stderr)?.[1]);
  // a page at a time they are more than 1,600, and for each of them the kernel begins anew
  t.ok(calls < 800, `read in ${calls} pieces`);
});
