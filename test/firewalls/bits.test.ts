import t from 'tap';
import { vague } from '../../src/firewalls/bits.ts';
import { Registers } from '../../src/firewalls/registers.ts';
import { register } from '../../src/nftables/register.ts';

t.test('an expression that speaks of four gigabytes loads no more than there are registers', async t => {
  t.equal(vague(0xffffffff).likely.length, 64);
  t.equal(new Registers().read(register(0), 0xffffffff).likely.length, 64);
  t.equal(vague(4).likely.length, 4);
});
