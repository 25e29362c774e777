/** An event that is reported late counts from when it happened. */
import { setTimeout as delay } from 'node:timers/promises';
import t from 'tap';
import { decodePackets } from '../../src/netlink/nflog.ts';
import { cameAt } from '../../src/supervisor/events.ts';
import { knocks, skip, ssh, supervised } from './supervised.ts';

t.test(
  'a client that knocked, and was revoked, while the supervisor stood still is not put back',
  { skip },
  async t => {
    const { world, supervisor, environment, event } = await supervised(t, { services: { ssh } });
    const client = world.host('client');
    await world.host('server').listen(22);
    supervisor.signal('SIGSTOP');
    await client.knock(world.server.ipv4, knocks);
    t.equal(await client.connect(world.server.ipv4, 22), 'open');
    t.equal((await world.knockd(['revoke', 'ssh', world.client.ipv4], { env: environment })).status, 0);
    await world.nft('flush ruleset');
    supervisor.signal('SIGCONT');
    await event('opened');
    await event('restored');
    t.equal(await client.connect(world.server.ipv4, 22), 'silent');
  },
);

t.test('an opening that ended while the supervisor stood still gets no fresh time', { skip }, async t => {
  const { world, supervisor, event } = await supervised(t, { services: { ssh: { ...ssh, openFor: '2s' } } });
  const client = world.host('client');
  await world.host('server').listen(22);
  supervisor.signal('SIGSTOP');
  await client.knock(world.server.ipv4, knocks);
  await delay(2500);
  await world.nft('flush ruleset');
  supervisor.signal('SIGCONT');
  t.match(await event('restored'), { clients: 0 });
  t.equal(await client.connect(world.server.ipv4, 22), 'silent');
});

t.test('a packet came when the kernel says, even if the clock was set since', async t => {
  const [now, clock, earliest] = [500_000, 1_800_000_000_000, 100_000];
  const at = (time: number | undefined) => cameAt({ time }, earliest, now, clock);
  const exactly = (moment: number) => ({ earliest: moment, latest: moment });
  t.same(at(clock - 3000), exactly(now - 3000));
  t.same(at(clock), exactly(now));
  const inDoubt = { earliest, latest: now };
  t.same(at(undefined), inDoubt, 'unknown: the door is rather shut too early');
  t.same(at(clock + 1), inDoubt, 'the clock was set back since');
  t.same(at(clock - 3_600_000), inDoubt, 'the clock was set forward since');
});

t.test('the time of a packet is read from the message of NFLOG', async t => {
  const [hour, microseconds] = [1_795_733_197n, 31_999n];
  const time = Buffer.alloc(20);
  time.writeUInt16LE(20, 0);
  time.writeUInt16LE(3, 2); // NFULA_TIMESTAMP
  time.writeBigUInt64BE(hour, 4);
  time.writeBigUInt64BE(microseconds, 12);
  const payload = Buffer.alloc(24);
  payload.writeUInt16LE(24, 0);
  payload.writeUInt16LE(9, 2); // NFULA_PAYLOAD
  payload.set([192, 0, 2, 7], 4 + 12);
  const message = (...attributes: readonly Buffer[]) => {
    const header = Buffer.alloc(20);
    const body = Buffer.concat(attributes);
    header.writeUInt32LE(20 + body.length, 0);
    header.writeUInt16LE(0x400, 4);
    header[16] = 2; // AF_INET
    return Buffer.concat([header, body]);
  };
  t.match(decodePackets(message(time, payload)), [
    { family: 'ipv4', source: Buffer.from([192, 0, 2, 7]), time: 1_795_733_197_031 },
  ]);
  t.equal(decodePackets(message(payload))[0]?.time, undefined);
  const broken = Buffer.from(message(payload));
  broken.writeUInt16LE(200, 20);
  t.same(
    decodePackets(Buffer.concat([broken, message(time, payload)])).length,
    1,
    'one that cannot be read keeps none from us',
  );
});
