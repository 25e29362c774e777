/** Structures of iptables, byte by byte: those that no iptables of today writes, and those that need what is not here. */
import t from 'tap';
import { type Match, NO, YES } from '../../src/firewalls/bits.ts';
import { arriving } from '../../src/firewalls/packet.ts';
import { NOTHING_WRITTEN } from '../../src/firewalls/written.ts';
import { followMatch, followTarget } from '../../src/firewalls/xtables.ts';

const way = { name: 'eth0', index: 2, addresses: {} };
const tcp = { ...arriving({ family: 'ipv4', protocol: 'tcp', port: 22 }, way), tracking: 'new' } as const;
const udp = { ...arriving({ family: 'ipv6', protocol: 'udp', port: 53 }, way), tracking: 'new' } as const;
const hex = (words: string) => Buffer.from(words.replaceAll(' ', ''), 'hex');

function matches(
  name: string,
  revision: number,
  info: Buffer,
  packet: Parameters<typeof followMatch>[3] = tcp,
): Match {
  return followMatch(name, revision, info, packet, NOTHING_WRITTEN);
}

t.test('ports and flags of the tcp and udp matches, as before iptables 1.8.8', async t => {
  const any = '0000 ffff';
  t.strictSame(
    matches('tcp', 0, hex(`${any} 1600 1600 00 00 00 00`)),
    { likely: true, sure: false },
    'the source port is a guess',
  );
  t.strictSame(matches('tcp', 0, hex(`${any} 1700 ffff 00 00 00 00`)), NO, '23 and above');
  t.strictSame(matches('tcp', 0, hex(`${any} 1600 1600 00 00 00 02`)), NO, 'not 22');
  t.equal(matches('tcp', 0, hex(`${any} ${any} 00 17 02 00`)).likely, true, '--syn');
  t.equal(matches('tcp', 0, hex(`${any} ${any} 00 17 02 04`)).likely, false, '! --syn');
  t.equal(matches('tcp', 0, hex(`${any} ${any} 02 00 00 00`)).likely, undefined, 'options are not foretold');
  t.equal(matches('tcp', 0, hex(`0000 e803 ${any} 00 00 00 00`)).likely, false, 'from port 0 to 1000');
  t.strictSame(matches('tcp', 0, hex(`${any} ${any} 00 00 00 00`), udp), NO);
  t.equal(matches('udp', 0, hex(`${any} 3500 3500 00 00 00 00`), udp).likely, true);
  t.strictSame(matches('udp', 0, hex(`${any} 3500 3500 02 00 00 00`), udp), NO);
  t.strictSame(matches('udp', 0, hex(`${any} ${any} 00 00 00 00`)), NO);
});

t.test('marks', async t => {
  t.strictSame(matches('connmark', 1, hex('01000000 ff000000 00')), { likely: false, sure: false });
  t.strictSame(matches('connmark', 1, hex('01000000 ff000000 01')), { likely: true, sure: false });
});

t.test('lists of addresses likely do not hold a stranger', async t => {
  t.strictSame(
    matches('set', 4, hex('0100 01 02')),
    { likely: false, sure: false },
    '--match-set banned src',
  );
  t.strictSame(
    matches('set', 4, hex('0100 01 03')),
    { likely: true, sure: false },
    '! --match-set banned src',
  );
  t.equal(matches('set', 0, Buffer.alloc(40)).likely, undefined, 'an old form');
});

t.test('an unknown match, or one that is cut short, may match or not', async t => {
  t.equal(matches('geoip', 0, hex('00')).likely, undefined);
  t.equal(matches('constructor', 0, hex('00')).likely, undefined);
  t.throws(() => matches('tcp', 0, hex('00')), RangeError, 'which its caller takes for that');
});

t.test('targets', async t => {
  const does = (name: string, revision = 0, info = Buffer.alloc(64)) =>
    followTarget(name, revision, info, tcp);
  t.strictSame(does('LOG'), { match: YES });
  t.match(does('REJECT').decisions, [{ decision: { does: 'reject' } }]);
  t.equal(does('CT', 2, hex('0100 0000')).untracked, true);
  t.notOk(does('CT', 2, hex('0000 0000')).untracked);
  t.match(does('NFQUEUE').decisions, [{ decision: { does: 'unknown' } }]);
  const proxy = does('TPROXY', 1, hex(`01000000 01000000 ${'00'.repeat(16)} 0913 0000`));
  t.match(proxy, { leads: [{ likely: hex('0913') }], decisions: [{ likely: true }, { likely: false }] });
  t.match(does('TPROXY', 0, hex('01000000 01000000 00000000 0000 0000')).leads, [{ likely: hex('0016') }]);
  // struct nf_nat_ipv4_multi_range_compat: 10.0.0.2, port 80
  const compat = hex('01000000 03000000 0a000002 0a000002 0050 0050');
  t.match(does('DNAT', 0, compat).decisions, [
    {
      decision: {
        does: 'translate',
        to: { address: { likely: hex('0a000002') }, port: { likely: hex('0050') }, local: false },
      },
    },
  ]);
  // a range of addresses is a guess
  t.match(does('DNAT', 0, hex('01000000 01000000 0a000002 0a000009 0000 0000')).decisions, [
    { decision: { to: { address: { likely: hex('0a000002'), sure: hex('00000000') }, port: undefined } } },
  ]);
  t.match(does('REDIRECT', 0, hex('01000000 02000000 00000000 00000000 1f90 1f90')).decisions, [
    { decision: { to: { address: undefined, port: { likely: hex('1f90') }, local: true } } },
  ]);
});
