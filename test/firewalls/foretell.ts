/** A program for the tests: what other tables, in the network namespace that it runs in, will do with packets. */
import type { Family, Protocol } from '../../src/config/types.ts';
import { pass } from '../../src/firewalls/journey.ts';
import { arriving } from '../../src/firewalls/packet.ts';
import { readForeign } from '../../src/firewalls/read.ts';
import { withKernel } from '../../src/loader/access.ts';

/** What is foretold for one port: the fates that are likely in prerouting and input, and those that are possible. */
export interface Foretold {
  readonly likely: readonly string[];
  readonly possible: readonly string[];
  readonly untracked: boolean;
}

const [family = 'ipv4', protocol = 'tcp', name = 'eth0', index, ...ports] = process.argv.slice(2);

const tables = await withKernel(({ connection }) => readForeign(connection));
const way = { name, index: index ? Number(index) : undefined, addresses: {} };
const foretold = ports.map((port): Foretold => {
  const packet = arriving(
    { family: family as Family, protocol: protocol as Protocol, port: Number(port) },
    way,
  );
  const first = pass(tables, 'prerouting', packet);
  const visits = [...first.visits, ...pass(tables, 'input', first.packet).visits];
  return {
    likely: visits.map(({ ruling }) => ruling.fate),
    possible: visits.map(({ possible }) => [...possible].sort().join('|')),
    untracked: visits.some(({ untracked }) => untracked),
  };
});
process.stdout.write(JSON.stringify(foretold));
