/** Tracked connections, by the bytes of Linux 6.18 and of conntrack-tools 1.4.7. */
import fc from 'fast-check';
import t from 'tap';
import { AttributeReader, DecodeError } from '../../src/netlink/attributes.ts';
import { decodeFlow, deleteAnswers, deleteFlow, detourFlow, listFlows } from '../../src/netlink/conntrack.ts';
import { NFGENMSG } from '../../src/netlink/nfnetlink.ts';
import { bytesOf, dump, linesOf } from '../dump.ts';

const hex = (text: string) => Buffer.from(text, 'hex');

/** `tcp ESTABLISHED src=127.0.0.1 dst=127.0.0.1 sport=49310 dport=8080 src=127.0.0.1 dst=127.0.0.1 sport=80 dport=49310` */
const REDIRECTED = bytesOf(`0000  02000000
                            0004  34000180 14000180 08000100 7f000001
                            0014                    08000200 7f000001
                            001c           1c000280 05000100 06000000
                            0028                    06000200 c09e0000
                            0030                    06000300 1f900000
                            0038  34000280 14000180 08000100 7f000001
                            0048                    08000200 7f000001
                            0050           1c000280 05000100 06000000
                            005c                    06000200 00500000
                            0064                    06000300 c09e0000
                            006c  08000300 000001ae
                            0074  08000800 00000000
                            007c  08000c00 21c8caee
                            0084  08000b00 00000001
                            008c  08000700 0006977f
                            0094  30000480 2c000180 05000100 03000000
                            00a4                    05000200 0a000000
                            00ac                    05000300 0a000000
                            00b4                    06000400 23000000
                            00bc                    06000500 23000000`);

/** `udp src=::1 dst=::1 sport=5555 dport=53 src=::1 dst=::1 sport=53 dport=5555` */
const DATAGRAMS = bytesOf(`0000  0a000000
                           0004  4c000180 2c000180 14000300 00000000 00000000 00000000 00000001
                           0020                    14000400 00000000 00000000 00000000 00000001
                           0034           1c000280 05000100 11000000
                           0040                    06000200 15b30000
                           0048                    06000300 00350000
                           0050  4c000280 2c000180 14000300 00000000 00000000 00000000 00000001
                           006c                    14000400 00000000 00000000 00000000 00000001
                           0080           1c000280 05000100 11000000
                           008c                    06000200 00350000
                           0094                    06000300 15b30000
                           009c  08000300 0000018a
                           00a4  08000800 00000000
                           00ac  08000c00 952184bf
                           00b4  08000b00 00000001
                           00bc  08000700 0000001c`);

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

t.test('the side that opened a connection is known if its first packet was seen', async t => {
  t.ok(flowOf(REDIRECTED).fromStart);
  const liberal = '0600040023000000';
  t.notOk(flowOf(changed(REDIRECTED, liberal, '060004002b000000')).fromStart, 'tracked from its middle on');
  t.notOk(flowOf(DATAGRAMS).fromStart);
});

t.test('TCP that is over is distinguished from TCP that runs', async t => {
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

t.test('an entry without ports is no flow', async t => {
  t.equal(decodeFlow(changed(REDIRECTED, '0500010006', '0500010001')), undefined, 'a ping');
});

t.test('a flow is ended by its first packet, its zone and its number', async t => {
  const { payload, ...request } = deleteFlow(flowOf(REDIRECTED));
  t.same(request, { type: 0x102, flags: 0, subject: 'tracked connections' });
  // the tuple as "conntrack -D" sends it
  t.strictSame(
    dump(payload, NFGENMSG),
    linesOf(`0000  02000000
             0004  34000180 14000180 08000100 7f000001
             0014                    08000200 7f000001
             001c           1c000280 05000100 06000000
             0028                    06000200 c09e0000
             0030                    06000300 1f900000
             0038  08000c00 21c8caee`),
  );
  const zoned = Buffer.concat([DATAGRAMS, hex('0600120000070000')]);
  t.strictSame(
    dump(deleteFlow(flowOf(zoned)).payload, NFGENMSG),
    linesOf(`0000  0a000000
             0004  4c000180 2c000180 14000300 00000000 00000000 00000000 00000001
             0020                    14000400 00000000 00000000 00000000 00000001
             0034           1c000280 05000100 11000000
             0040                    06000200 15b30000
             0048                    06000300 00350000
             0050  08000c00 952184bf
             0058  06001200 00070000`),
  );
  t.same(listFlows('ipv6'), {
    type: 0x101,
    flags: 0,
    subject: 'tracked connections',
    payload: hex('0a000000'),
  });
});

t.test('answers go astray by a flow of their own, without NAT', async t => {
  const detour = detourFlow(flowOf(REDIRECTED));
  t.equal(detour.type, 0x100);
  t.equal(detour.flags, 0x600, 'NLM_F_CREATE | NLM_F_EXCL');
  t.strictSame(
    dump(detour.payload, NFGENMSG),
    linesOf(`0000  02000000
             0004  34000180 14000180 08000100 7f000001
             0014                    08000200 7f000001
             001c           1c000280 05000100 06000000
             0028                    06000200 00500000
             0030                    06000300 c09e0000
             0038  34000280 14000180 08000100 7f000001
             0048                    08000200 7f000001
             0050           1c000280 05000100 06000000
             005c                    06000200 c09e0000
             0064                    06000300 00500000
             006c  08000300 0000000e
             0074  08000700 00069780
             007c  10000480 0c000180 05000100 03000000`),
  );
  t.strictSame(
    dump(deleteAnswers(flowOf(REDIRECTED)).payload, NFGENMSG),
    linesOf(`0000  02000000
             0004  34000180 14000180 08000100 7f000001
             0014                    08000200 7f000001
             001c           1c000280 05000100 06000000
             0028                    06000200 00500000
             0030                    06000300 c09e0000`),
  );
  const reader = new AttributeReader(detourFlow(flowOf(DATAGRAMS)).payload, 4);
  const types: number[] = [];
  while (reader.next()) types.push(reader.type);
  t.same(types, [1, 2, 3, 7], 'UDP has no state');
});

t.test('any bytes are a flow, or none, or a DecodeError', async t => {
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
