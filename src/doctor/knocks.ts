import type { Config, Port } from '../config/types.ts';
import type { Visit } from '../firewalls/journey.ts';
import type { HostFacts } from './facts.ts';
import { type Checked, type Finding, list, shellWord } from './finding.ts';
import { chainName, passage, type Surroundings } from './passage.ts';

/** A knock, named by its place in the file: its port is a secret. */
export interface Knock extends Port {
  /** `services.ssh.sequence: knock 2` */
  readonly where: string;
}

/** Whether knocks come to us, and only to us. */
export function checkKnocks(
  config: Config,
  host: Pick<HostFacts, 'listeners' | 'ephemeral' | 'families'>,
  around: Surroundings | undefined,
  path: string,
): Checked {
  const knocks = knocksOf(config);
  return {
    name: 'knocks',
    fine: 'they come to us, and to nobody else',
    findings: [
      ...(around ? unseen(config, knocks, around, path) : []),
      ...inUse(knocks, host, path),
      ...ephemeral(knocks, host, path),
    ],
  };
}

/** Each port once, where it first stands. */
export function knocksOf({ services }: Config): Knock[] {
  const found = new Map<string, Knock>();
  for (const { name, sequences } of services)
    for (const { user, knocks } of sequences)
      for (const [index, { protocol, port }] of knocks.entries()) {
        const where = `services.${name}.${user === null ? 'sequence' : `sequences.${user}`}: knock ${index + 1}`;
        const key = `${port}/${protocol}`;
        if (!found.has(key)) found.set(key, { protocol, port, where });
      }
  return [...found.values()];
}

const places = (knocks: readonly Knock[]) => list(knocks.map(({ where }) => where));

/** Knocks that a chain before ours drops, or sends elsewhere. */
function unseen(config: Config, knocks: readonly Knock[], around: Surroundings, path: string): Finding[] {
  const dropped = new Map<string, { visit: Visit; knocks: Set<Knock> }>();
  const forwarded = new Map<string, { visit: Visit; knocks: Set<Knock> }>();
  const add = (to: typeof dropped, visit: Visit, knock: Knock): void => {
    const known = to.get(chainName(visit));
    if (known) known.knocks.add(knock);
    else to.set(chainName(visit), { visit, knocks: new Set([knock]) });
  };
  if (seesBefore(config, around))
    for (const knock of knocks)
      for (const family of around.families) {
        const { visits, translation } = passage(around, { ...knock, family });
        if (translation) add(forwarded, translation, knock);
        for (const visit of visits)
          if (visit.doorman === 'out' && isBefore(config, visit)) add(dropped, visit, knock);
      }
  return [
    ...[...dropped.values()].map(({ visit, knocks }) => isDropped(config, visit, [...knocks], path)),
    ...[...forwarded.values()].map(({ visit, knocks }) => isForwarded(visit, [...knocks], path)),
  ];
}

/** Of two chains with the same priority nobody can tell. */
function isBefore({ priority }: Config, { chain: { hook } }: Visit): boolean {
  return hook.name === 'prerouting' || hook.priority < priority;
}

/** Asked first, since there may be thousands of knocks. */
function seesBefore({ priority }: Config, { tables }: Surroundings): boolean {
  return tables.some(({ chains }) =>
    [...chains.values()].some(
      ({ hook }) => hook?.name === 'prerouting' || (hook?.name === 'input' && hook.priority < priority),
    ),
  );
}

function isDropped(config: Config, visit: Visit, knocks: readonly Knock[], path: string): Finding {
  const { table, chain } = visit;
  const place = `${table.family} ${shellWord(table.name)} ${shellWord(chain.name)}`;
  return {
    id: 'knocks-dropped',
    severity: 'broken',
    what: `${chainName(visit)} ${visit.ruling.fate}s ${places(knocks)} before we see it`,
    why: 'sequences with it cannot be completed',
    mend:
      chain.hook.name === 'input' && chain.hook.priority > LOWEST
        ? `"priority": ${Math.min(chain.hook.priority, config.priority) - 1}  in ${path}`
        : `nft insert rule ${place} ${knocks[0]?.protocol ?? 'tcp'} dport THE_PORT_OF_THAT_KNOCK accept`,
  };
}

/** The configuration takes priorities above -200. */
const LOWEST = -199;

function isForwarded(visit: Visit, knocks: readonly Knock[], path: string): Finding {
  return {
    id: 'knocks-forwarded',
    severity: 'broken',
    what: `${chainName(visit)} forwards ${places(knocks)} before we see it`,
    why: 'it reaches a service, and sequences with it cannot be completed',
    mend: `sudoedit ${shellWord(path)}  # another port for it`,
  };
}

function inUse(
  knocks: readonly Knock[],
  { listeners = [], ephemeral }: Pick<HostFacts, 'listeners' | 'ephemeral'>,
  path: string,
): Finding[] {
  // a UDP socket that waits for an answer looks like one that serves
  const isClient = ({ protocol, port }: Port) =>
    protocol === 'udp' && port >= ephemeral.first && port <= ephemeral.last;
  const taken = knocks.filter(knock =>
    listeners.some(
      it => it.protocol === knock.protocol && it.port === knock.port && !it.loopback && !isClient(it),
    ),
  );
  if (taken.length === 0) return [];
  return [
    {
      id: 'knock-port-in-use',
      severity: 'risk',
      what: `a program listens on the port of ${places(taken)}`,
      why: 'its visitors knock without knowing, and clients of ours who use it begin their sequence anew',
      mend: `sudoedit ${shellWord(path)}  # another port for it; "ss -lntu" shows those in use`,
    },
  ];
}

function ephemeral(
  knocks: readonly Knock[],
  { ephemeral, listeners = [] }: Pick<HostFacts, 'ephemeral' | 'listeners'>,
  path: string,
): Finding[] {
  const { first, last } = ephemeral;
  const inside = knocks.filter(
    ({ protocol, port }) =>
      port >= first && port <= last && !listeners.some(it => it.protocol === protocol && it.port === port),
  );
  if (inside.length === 0) return [];
  return [
    {
      id: 'knock-port-ephemeral',
      severity: 'note',
      what: `${places(inside)}: the port is one that the kernel gives to programs (${first} to ${last})`,
      why: 'now and then a program listens there for a while, and a knock reaches it',
      mend: `sudoedit ${shellWord(path)}  # a port below ${first} or above ${last}`,
    },
  ];
}
