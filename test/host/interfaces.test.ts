/** Which interfaces `interfaces` of the configuration come to, for kinds of them that a kernel may lack. */
import t from 'tap';
import { lookedAt } from '../../src/host/interfaces.ts';
import type { Link } from '../../src/netlink/link.ts';

const plain = {
  otherNames: [],
  kind: undefined,
  master: undefined,
  masterKind: undefined,
  lower: undefined,
  hasXdp: false,
};
const links: readonly Link[] = [
  { ...plain, index: 1, name: 'lo' },
  { ...plain, index: 2, name: 'eth0', otherNames: ['enp1s0'] },
  { ...plain, index: 3, name: 'eth1', master: 6, masterKind: 'bond' },
  { ...plain, index: 4, name: 'eth2', master: 7, masterKind: 'vrf' },
  { ...plain, index: 5, name: 'eth3' },
  { ...plain, index: 6, name: 'bond0', kind: 'bond' },
  { ...plain, index: 7, name: 'vrf0', kind: 'vrf' },
  { ...plain, index: 8, name: 'eth3.10', kind: 'vlan', lower: 5 },
  { ...plain, index: 9, name: 'mac0', kind: 'macvlan', lower: 2 },
];
const look = (...patterns: readonly string[]) => {
  const { at, astray } = lookedAt(patterns, links, new Set(['lo', 'eth0', 'bond0', 'eth2', 'eth3.10']));
  return { at, astray: astray.map(({ is, link, by }) => `${link}: ${is} ${by.join()}`.trim()) };
};

t.test('packets of a port come in by its master, those of a VLAN by the VLAN', async t => {
  t.strictSame(look('eth0'), { at: ['eth0'], astray: [] });
  t.strictSame(look('eth1'), { at: [], astray: ['eth1: port bond0'] });
  t.strictSame(look('eth2'), { at: [], astray: ['eth2: port vrf0'] });
  t.strictSame(look('vrf0'), { at: ['vrf0'], astray: [] });
  t.strictSame(look('eth3'), { at: [], astray: ['eth3: parent eth3.10'] });
  t.strictSame(look('eth3.10'), { at: ['eth3.10'], astray: [] });
});

t.test('a configuration that names both is right', async t => {
  t.strictSame(look('eth1', 'bond0'), { at: ['bond0'], astray: [] });
  t.strictSame(look('eth3*'), { at: ['eth3.10'], astray: [] });
});

t.test('a wildcard is astray for each port, and if it covers nothing', async t => {
  t.strictSame(look('eth*'), { at: ['eth0', 'eth3.10'], astray: ['eth1: port bond0', 'eth2: port vrf0'] });
  t.strictSame(look('wg*'), { at: [], astray: ['wg*: absent'] });
  t.strictSame(look('enp*'), { at: [], astray: ['eth0: other name eth0'] });
  t.strictSame(look('l*'), { at: [], astray: ['l*: loopback'] });
});

t.test(
  'without names all but the loopback and what has another interface in nftables is looked at',
  async t => {
    t.strictSame(look(), { at: ['eth0', 'bond0', 'vrf0', 'eth3.10', 'mac0'], astray: [] });
  },
);
