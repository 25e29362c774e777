import t from 'tap';
import { numbers } from '../numbers.ts';
import { readCorpus } from './corpus.ts';
import { fuzz } from './fuzzer.ts';
import { instrumented } from './instrument.ts';
import { explained, TARGETS } from './targets.ts';

/** For all targets together: a minute. */
const MILLISECONDS = 60_000 / TARGETS.length;

const WHAT: Readonly<Record<(typeof TARGETS)[number], string>> = {
  config: 'a configuration is read and compiled, or refused with places in the file',
  hosts: 'a hosts.json is read, or refused with a reason',
  import: 'a knockd.conf becomes a valid configuration, or it is said why not',
  netlink: 'a datagram of the kernel is read, or refused as not from the kernel',
  nftables: 'an object of nf_tables is read, written again and printed, or refused as not from the kernel',
  notes: 'a note that outlives a process is read, or counts as not there',
};

for (const name of TARGETS)
  t.test(`with any input, ${WHAT[name]}`, async t => {
    const seed = Math.floor(Math.random() * 1_000_000);
    const target = await instrumented(name);
    const end = performance.now() + MILLISECONDS;
    const { tried, taken, branches, finding } = await fuzz(target, {
      next: numbers(seed),
      corpus: readCorpus(name),
      goesOn: () => performance.now() < end,
    });
    t.comment(`seed ${seed}, ${tried} inputs, ${taken} of ${branches} branches`);
    if (finding) t.comment(`the input, in base64: ${finding.input.toString('base64')}`);
    t.equal(finding && explained(name, finding.input, finding.fault), undefined);
  });

t.test('coverage finds a fault behind several branches, and chance does not', async t => {
  const target = await instrumented('planted');
  const options = { corpus: [], goesOn: (tried: number) => tried < 300_000 };
  const found = await fuzz(target, { ...options, next: numbers(1) });
  t.equal(found.finding?.input.length, 6, 'made as small as it can be');
  t.match(found.finding?.fault, { message: 'the door is open' });
  const byChance = await fuzz(target, { ...options, next: numbers(1), guided: false });
  t.equal(byChance.finding, undefined);
  t.equal(byChance.tried, 300_000);
});
