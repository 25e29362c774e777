import t from 'tap';
import { readNetwork } from '../../src/inet/network.ts';
import { DATATYPES } from '../../src/nftables/datatype.ts';
import { inIntervals, prefixElements } from '../../src/nftables/interval.ts';

function setOf(...networks: readonly string[]) {
  const elements = prefixElements(
    networks.map(text => {
      const outcome = readNetwork(text);
      if (!outcome.ok) throw new Error(outcome.wrong);
      return outcome.value;
    }),
  );
  return {
    name: 'allowed',
    types: [DATATYPES.ipv4_addr],
    dynamic: false,
    timeout: false,
    interval: true,
    elements,
  };
}

const bytes = (address: string) => Buffer.from(address.split('.').map(Number));

t.test('an address is in a set of ranges or not, in whatever order the kernel lists them', async t => {
  const set = setOf('10.0.0.0/25', '10.0.0.128/25', '192.0.2.7', '255.255.255.255');
  const inside = ['10.0.0.0', '10.0.0.127', '10.0.0.128', '10.0.0.255', '192.0.2.7', '255.255.255.255'];
  const outside = ['0.0.0.0', '9.255.255.255', '10.0.1.0', '192.0.2.6', '192.0.2.8', '255.255.255.254'];
  for (const elements of [set.elements, set.elements.toReversed()]) {
    for (const address of inside) t.ok(inIntervals({ ...set, elements }, bytes(address)), address);
    for (const address of outside) t.notOk(inIntervals({ ...set, elements }, bytes(address)), address);
  }
  t.notOk(inIntervals(setOf(), bytes('10.0.0.1')), 'none at all');
  t.ok(inIntervals(setOf('0.0.0.0/0'), bytes('10.0.0.1')), 'all');
});
