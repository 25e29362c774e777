/** A program for the tests: foretells what other tables in its network namespace will do with packets. */

import { Foresight } from '../../src/firewalls/foresight.ts';
import { pass, type Visit } from '../../src/firewalls/journey.ts';
import { arriving } from '../../src/firewalls/packet.ts';
import { readForeign } from '../../src/firewalls/read.ts';
import { withKernel } from '../../src/host/access.ts';
import type { Family } from '../../src/inet/family.ts';
import type { Protocol } from '../../src/inet/protocol.ts';

/** The forecast for one port: the fates that are likely in prerouting and input, and those that are possible. */
export interface Foretold {
  readonly likely: readonly string[];
  readonly possible: readonly string[];
  readonly untracked: boolean;
}

const [family = 'ipv4', protocol = 'tcp', name = 'eth0', index, ...ports] = process.argv.slice(2);

const tables = await withKernel(({ connection }) => readForeign(connection));
const way = { name, index: index ? Number(index) : undefined, addresses: {} };
const foresight = new Foresight(tables);

function to(port: number) {
  return { family: family as Family, protocol: protocol as Protocol, port };
}

function foretold(visits: readonly Visit[]): Foretold {
  return {
    likely: visits.map(({ ruling }) => ruling.fate),
    possible: visits.map(({ possible }) => [...possible].sort().join('|')),
    untracked: visits.some(({ untracked }) => untracked),
  };
}

function together(port: number): Foretold {
  return foretold(foresight.arrival(to(port), way).visits);
}

function alone(port: number): Foretold {
  const first = pass(tables, 'prerouting', arriving(to(port), way));
  return foretold([...first.visits, ...pass(tables, 'input', first.packet).visits]);
}

// ports that the rules treat alike are foretold together, and each of them alone must give the same result
for (let port = 1; port <= 65_535; port += port < 100 ? 1 : 61)
  if (JSON.stringify(together(port)) !== JSON.stringify(alone(port)))
    throw new Error(`port ${port}: ${JSON.stringify([together(port), alone(port)])}`);

process.stdout.write(JSON.stringify(ports.map(port => together(Number(port)))));
