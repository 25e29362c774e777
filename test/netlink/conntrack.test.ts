/** Tracked connections, by the bytes of Linux 6.18 and of conntrack-tools 1.4.7. */
import fc from 'fast-check';
import t from 'tap';
import { AttributeReader, DecodeError } from '../../src/netlink/attributes.ts';
import { decodeFlow, deleteAnswers, deleteFlow, detourFlow, listFlows } from '../../src/netlink/conntrack.ts';

const hex = (text: string) => Buffer.from(text.replaceAll(/\s/g, ''), 'hex');

/** `tcp ESTABLISHED src=127.0.0.1 dst=127.0.0.1 sport=49310 dport=8080 src=127.0.0.1 dst=127.0.0.1 sport=80 dport=49310` */
const REDIRECTED = hex(`02000000
  34000180 14000180 080001007f000001 080002007f000001
           1c000280 0500010006000000 06000200c09e0000 060003001f900000
  34000280 14000180 080001007f000001 080002007f000001
           1c000280 0500010006000000 0600020000500000 06000300c09e0000
  08000300000001ae 0800080000000000 08000c0021c8caee 08000b0000000001 080007000006977f
  30000480 2c000180 0500010003000000 050002000a000000 050003000a000000 0600040023000000 0600050023000000`);

/** `udp src=::1 dst=::1 sport=5555 dport=53 src=::1 dst=::1 sport=53 dport=5555` */
const DATAGRAMS = hex(`0a000000
  4c000180 2c000180 1400030000000000000000000000000000000001 1400040000000000000000000000000000000001
           1c000280 0500010011000000 0600020015b30000 0600030000350000
  4c000280 2c000180 1400030000000000000000000000000000000001 1400040000000000000000000000000000000001
           1c000280 0500010011000000 0600020000350000 0600030015b30000
  080003000000018a 0800080000000000 08000c00952184bf 08000b0000000001 080007000000001c`);

/** The same payload with other bytes in place of some. */
function changed(payload: Buffer, from: string, to: string): Buffer {
  return hex(payload.toString('hex').replaceAll(from, to));
}

function flowOf(payload: Buffer) {
  const flow = decodeFlow(payload);
  if (!flow) throw new Error('no flow');
  return flow;
}

t.test('a flow has two ends, and answers that NAT may have changed', async t => {
  const address = hex('7f000001');
  const { handle, ...flow } = flowOf(REDIRECTED);
  t.same(flow, {
    family: 'ipv4',
    protocol: 'tcp',
    source: { address, port: 49310 },
    destination: { address, port: 8080 },
    answers: { source: { address, port: 80 }, destination: { address, port: 49310 } },
    ended: false,
    fromStart: true,
    assured: true,
  });
  t.equal(handle.length, 2);
  t.match(flowOf(DATAGRAMS), {
    family: 'ipv6',
    protocol: 'udp',
    source: { address: hex('00000000000000000000000000000001'), port: 5555 },
    destination: { port: 53 },
    answers: { source: { port: 53 }, destination: { port: 5555 } },
    ended: false,
    fromStart: false,
    assured: false,
  });
});

t.test('who opened a connection is known where its first packet was seen', async t => {
  t.ok(flowOf(REDIRECTED).fromStart);
  const liberal = '0600040023000000';
  t.notOk(flowOf(changed(REDIRECTED, liberal, '060004002b000000')).fromStart, 'tracked from its middle on');
  t.notOk(flowOf(DATAGRAMS).fromStart);
});

t.test('TCP that is over is told from TCP that runs', async t => {
  const state = '0500010003000000050002000a';
  for (const [number, ended] of [
    [1, false],
    [2, false],
    [4, false],
    [5, false],
    [6, true],
    [7, true],
    [8, true],
    [9, false],
  ] as const)
    t.equal(flowOf(changed(REDIRECTED, state, state.replace('03', `0${number}`))).ended, ended, `${number}`);
});

t.test('what has no ports is no flow', async t => {
  t.equal(decodeFlow(changed(REDIRECTED, '0500010006', '0500010001')), undefined, 'a ping');
});

t.test('a flow is ended by its first packet, its zone and its number', async t => {
  t.same(deleteFlow(flowOf(REDIRECTED)), {
    type: 0x102,
    flags: 0,
    subject: 'tracked connections',
    // the tuple as "conntrack -D" sends it
    payload: hex(`02000000
      34000180 14000180 080001007f000001 080002007f000001
               1c000280 0500010006000000 06000200c09e0000 060003001f900000
      08000c0021c8caee`),
  });
  const zoned = Buffer.concat([DATAGRAMS, hex('0600120000070000')]);
  t.same(
    deleteFlow(flowOf(zoned)).payload,
    hex(`0a000000
      4c000180 2c000180 1400030000000000000000000000000000000001 1400040000000000000000000000000000000001
               1c000280 0500010011000000 0600020015b30000 0600030000350000
      08000c00952184bf 0600120000070000`),
  );
  t.same(listFlows('ipv6'), {
    type: 0x101,
    flags: 0,
    subject: 'tracked connections',
    payload: hex('0a000000'),
  });
});

t.test('answers go astray by a flow of their own, without NAT', async t => {
  const answers = `34000180 14000180 080001007f000001 080002007f000001
                            1c000280 0500010006000000 0600020000500000 06000300c09e0000`;
  const detour = detourFlow(flowOf(REDIRECTED));
  t.same(
    [detour.type, detour.flags, detour.payload],
    [
      0x100,
      0x600, // NLM_F_CREATE | NLM_F_EXCL
      hex(`02000000 ${answers}
        34000280 14000180 080001007f000001 080002007f000001
                 1c000280 0500010006000000 06000200c09e0000 0600030000500000
        080003000000000e 0800070000069780 10000480 0c000180 0500010003000000`),
    ],
  );
  t.same(deleteAnswers(flowOf(REDIRECTED)).payload, hex(`02000000 ${answers}`));
  const reader = new AttributeReader(detourFlow(flowOf(DATAGRAMS)).payload, 4);
  const types: number[] = [];
  while (reader.next()) types.push(reader.type);
  t.same(types, [1, 2, 3, 7], 'UDP has no state');
});

t.test('whatever bytes come, there is a flow, or none, or a DecodeError', async t => {
  fc.assert(
    fc.property(
      fc.constantFrom(REDIRECTED, DATAGRAMS),
      fc.array(fc.tuple(fc.nat(280), fc.nat(255)), { minLength: 1, maxLength: 4 }),
      fc.nat(280),
      (payload, edits, length) => {
        const bytes = Buffer.from(payload);
        for (const [at, byte] of edits) if (at < bytes.length) bytes[at] = byte;
        try {
          decodeFlow(bytes.subarray(0, Math.max(4, length)));
        } catch (error) {
          if (!(error instanceof DecodeError)) throw error;
        }
      },
    ),
    { numRuns: 2000 },
  );
  t.pass('2000 of them');
});
