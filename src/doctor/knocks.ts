import { LOWEST_PRIORITY } from '../config/keys.ts';
import type { Config } from '../config/types.ts';
import type { Visit } from '../firewalls/journey.ts';
import type { Port } from '../inet/port.ts';
import { shellWord } from '../terminal/shell.ts';
import type { HostFacts } from './facts.ts';
import { type Checked, type Finding, list } from './finding.ts';
import { forGood } from './mend.ts';
import { chainName, type Doorman, isBefore, passage, type Surroundings } from './passage.ts';

/** A knock, named by its place in the file, since its port is a secret. */
interface Knock extends Port {
  /** `services.ssh.sequence: knock 2` */
  readonly where: string;
}

/** Checks that knocks reach our chain, and no other program. */
export function checkKnocks(
  config: Config,
  host: Pick<HostFacts, 'listeners' | 'ephemeral' | 'families'>,
  around: Surroundings | undefined,
  path: string,
): Checked {
  const knocks = knocksOf(config);
  return {
    name: 'knocks',
    fine:
      around && around.unseen.length > 0
        ? 'they reach our table and no other program, as far as doctor looks'
        : 'they reach our table and no other program',
    findings: [
      ...(around ? unseen(config, knocks, around, path) : []),
      ...inUse(knocks, host, path),
      ...ephemeral(knocks, host, path),
    ],
  };
}

/** Each port once, at its first place. */
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

/** The fate of some knocks in a chain before ours. */
interface Lost {
  readonly visit: Visit;
  /** `forwards` and `may forward` are not among the doormen. */
  readonly how: Exclude<Doorman, 'in'> | 'forwards' | 'may forward';
  readonly knocks: Set<Knock>;
}

/** Knocks that a chain before ours drops or sends elsewhere. */
function unseen(config: Config, knocks: readonly Knock[], around: Surroundings, path: string): Finding[] {
  if (!seesBefore(config, around)) return [];
  const found = new Map<string, Lost>();
  const add = (how: Lost['how'], visit: Visit, knock: Knock): void => {
    if (!isBefore(config, visit)) return;
    const key = `${how} ${chainName(visit)}`;
    const known = found.get(key);
    if (known) known.knocks.add(knock);
    else found.set(key, { visit, how, knocks: new Set([knock]) });
  };
  for (const knock of knocks)
    for (const family of around.families) {
      const { visits, translation, mayTranslate } = passage(around, { ...knock, family });
      if (translation) add('forwards', translation, knock);
      else if (mayTranslate) add('may forward', mayTranslate, knock);
      for (const visit of visits) if (visit.doorman !== 'in') add(visit.doorman, visit, knock);
    }
  const order: readonly Lost['how'][] = ['out', 'forwards', 'may forward', 'some', 'unknown'];
  return [...found.values()]
    .toSorted((a, b) => order.indexOf(a.how) - order.indexOf(b.how))
    .map(lost => lostFinding(config, lost, path));
}

/** Whether there is a chain before ours. We ask this first, since there may be thousands of knocks. */
function seesBefore({ priority }: Config, { tables }: Surroundings): boolean {
  return tables.some(({ chains }) =>
    [...chains.values()].some(
      ({ hook }) => hook?.name === 'prerouting' || (hook?.name === 'input' && hook.priority < priority),
    ),
  );
}

function lostFinding(config: Config, { visit, how, knocks }: Lost, path: string): Finding {
  const all = places([...knocks]);
  const another = `sudoedit ${shellWord(path)}  # another port for it`;
  switch (how) {
    case 'forwards':
    case 'may forward':
      return {
        id: 'knocks-forwarded',
        severity: 'broken',
        what: `${chainName(visit)} ${how} ${all} before our table`,
        why: 'it reaches a service, and sequences with it cannot be completed',
        mend: another,
      };
    case 'unknown':
      return {
        id: 'knocks-unknown',
        severity: 'note',
        what: `whether ${chainName(visit)} lets ${all} come to us cannot be told`,
        why: 'it depends on what rules write while packets come, or on rules that doctor does not understand; "knockd-nft doctor --trace ADDRESS" watches a real attempt',
        mend: `nft list chain ${placeOf(visit)}`,
      };
    case 'some':
    case 'out':
      return {
        id: 'knocks-dropped',
        severity: how === 'out' ? 'broken' : 'risk',
        what: `${chainName(visit)} ${visit.ruling.fate}s ${all} before our table${how === 'out' ? '' : ', for all but some clients'}`,
        why: `sequences with it cannot be completed${byPriority(visit) ? '' : forGood(visit)}`,
        mend: letThrough(config, visit, [...knocks], path),
      };
  }
}

function placeOf({ table, chain }: Visit): string {
  return `${table.family} ${shellWord(table.name)} ${shellWord(chain.name)}`;
}

/** Whether our chain can come before this one. */
function byPriority({ chain: { hook } }: Visit): boolean {
  return hook.name === 'input' && hook.priority > LOWEST_PRIORITY;
}

function letThrough(config: Config, visit: Visit, [first]: readonly Knock[], path: string): string {
  return byPriority(visit)
    ? `"priority": ${Math.min(visit.chain.hook.priority, config.priority) - 1}  in ${path}`
    : `nft insert rule ${placeOf(visit)} ${first?.protocol ?? 'tcp'} dport THE_PORT_OF_THAT_KNOCK accept`;
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
      why: 'its visitors knock without knowing it, and our clients that use it begin their sequence again',
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
      why: 'sometimes a program listens there for a while, and a knock reaches it',
      mend: `sudoedit ${shellWord(path)}  # a port below ${first} or above ${last}`,
    },
  ];
}
