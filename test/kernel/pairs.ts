/**
 * Pairs of configurations to swap between, drawn at random, and what each of them means for a packet: a small model of the
 * documentation that knows nothing of chains and sets.
 */
import fc from 'fast-check';

/** The sources of packets, all through `eth0`. Clients are in for every service that both configurations have. */
export const SOURCES = {
  stranger: { ipv4: '198.18.0.0/16', ipv6: '2001:db8:18::/48' },
  client: { ipv4: '198.19.0.0/16', ipv6: '2001:db8:19::/48' },
} as const;
export type Who = keyof typeof SOURCES;

/** A program listens at each of them. The published one leads to another host. */
export const PUBLISHED = '8088/tcp';
export const TARGETS = [
  '22/tcp',
  '80/tcp',
  '443/tcp',
  '8000/tcp',
  '8001/tcp',
  '8002/tcp',
  '8003/tcp',
  '7777/udp',
  PUBLISHED,
] as const;
type Target = (typeof TARGETS)[number];

type Owner = 'first' | 'second' | 'third' | 'public' | 'nobody';

/** A configuration as independent choices, so that any of them may differ in the other one of a pair. */
type Choices = Record<Target, Owner> & {
  readonly first: 'ssh' | 'shell';
  readonly policy: 'accept' | 'drop';
  readonly hook: 'input' | 'prerouting';
  readonly priority: number;
  readonly table: string;
  readonly closed: 'drop' | 'reject';
  readonly secondClosed: 'drop' | 'reject';
  readonly singleUse: 'first' | 'third' | 'nobody';
  readonly users: boolean;
  readonly knocks: number;
  readonly knockTimeout: string;
  readonly openFor: string;
  readonly prefix: { readonly ipv4: number; readonly ipv6: number };
  readonly interfaces: readonly string[];
  readonly allow: Who | 'others' | 'nobody';
  readonly strict: boolean;
  readonly clients: number;
  readonly refused: boolean;
  /** Further services, which make a transaction longer. */
  readonly more: number;
};

const owner = fc.constantFrom<Owner[]>('first', 'second', 'third', 'public', 'nobody');

const choices: fc.Arbitrary<Choices> = fc.record({
  '22/tcp': owner,
  '80/tcp': owner,
  '443/tcp': owner,
  '8000/tcp': owner,
  '8001/tcp': owner,
  '8002/tcp': owner,
  '8003/tcp': owner,
  '7777/udp': owner,
  '8088/tcp': owner,
  first: fc.constantFrom('ssh', 'shell'),
  policy: fc.constantFrom('accept', 'drop'),
  hook: fc.constantFrom('input', 'prerouting'),
  priority: fc.constantFrom(-100, -20, -10, 0, 10),
  table: fc.constantFrom('knockd', 'knockd', 'door'),
  closed: fc.constantFrom('drop', 'reject'),
  secondClosed: fc.constantFrom('drop', 'reject'),
  singleUse: fc.constantFrom('first', 'third', 'nobody'),
  users: fc.boolean(),
  knocks: fc.nat({ max: 2 }),
  knockTimeout: fc.constantFrom('5s', '7s'),
  openFor: fc.constantFrom('10s', '1m'),
  prefix: fc.constantFrom({ ipv4: 32, ipv6: 128 }, { ipv4: 24, ipv6: 64 }),
  interfaces: fc.constantFrom([], [], ['eth0'], ['eth*'], ['wg0', 'eth0'], ['wg*']),
  allow: fc.constantFrom('stranger', 'client', 'others', 'nobody', 'nobody'),
  strict: fc.boolean(),
  clients: fc.constantFrom(1000, 65535),
  refused: fc.boolean(),
  more: fc.constantFrom(0, 0, 40),
});

/**
 * Another program's chain at input, with a verdict for packets to `port`. It accepts the others after `rules` rules, so that
 * a packet is under way for longer.
 */
interface Neighbour {
  readonly priority: number;
  readonly port: Target;
  readonly verdict: 'accept' | 'drop';
  readonly rules: number;
}

export interface Pair {
  readonly one: Choices;
  readonly other: Choices;
  readonly neighbours: readonly Neighbour[];
}

const neighbour = fc.record<Neighbour>({
  priority: fc.constantFrom(-150, -50, -15, -5, 5, 50),
  port: fc.constantFrom(...TARGETS),
  verdict: fc.constantFrom('accept', 'drop'),
  rules: fc.constantFrom(0, 500),
});

/** Most pairs differ little: faults lie in single changes, and in two that coincide. */
const pair: fc.Arbitrary<Pair> = choices.chain(one =>
  fc.record({
    one: fc.constant(one),
    other: fc
      .tuple(choices, fc.subarray(Object.keys(one) as (keyof Choices)[], { minLength: 1, maxLength: 5 }))
      .map(([drawn, keys]) => ({
        ...one,
        ...Object.fromEntries(keys.map(key => [key, drawn[key]])),
      })),
    neighbours: fc.array(neighbour, { maxLength: 2 }),
  }),
);

/** Draws pairs: the same ones for the same seed. */
export function drawPairs(seed: number, count: number): Pair[] {
  return fc.sample(pair, { seed, numRuns: count });
}

/**
 * A pair whose second configuration has the choices `other`. Everything else makes the swap slow, and with `neighbours` the
 * packet, too.
 */
export function pairOf(one: Partial<Choices>, other: Partial<Choices>, neighbours: 0 | 2 = 0): Pair {
  const first = { ...plain, ...one };
  const slow = { port: '443/tcp', verdict: 'accept', rules: 500 } as const;
  return {
    one: first,
    other: { ...first, refused: true, ...other },
    neighbours: [-15, -5].slice(0, neighbours).map(priority => ({ ...slow, priority })),
  };
}

const plain: Choices = {
  '22/tcp': 'first',
  '80/tcp': 'second',
  '443/tcp': 'public',
  '8000/tcp': 'nobody',
  '8001/tcp': 'nobody',
  '8002/tcp': 'nobody',
  '8003/tcp': 'nobody',
  '7777/udp': 'second',
  '8088/tcp': 'second',
  first: 'ssh',
  policy: 'accept',
  hook: 'input',
  priority: -10,
  table: 'knockd',
  closed: 'drop',
  secondClosed: 'drop',
  singleUse: 'nobody',
  users: false,
  knocks: 0,
  knockTimeout: '5s',
  openFor: '10s',
  prefix: { ipv4: 32, ipv6: 128 },
  interfaces: [],
  allow: 'nobody',
  strict: true,
  clients: 65535,
  refused: false,
  more: 40,
};

export function configOf(choices: Choices): object {
  const { policy, hook, priority, table, closed, prefix, strict, interfaces, allow, more } = choices;
  const others = Array.from({ length: more }, (_, index) => [
    `more${index}`,
    { ports: [3000 + index], sequence: [20_000 + 10 * index, 20_004 + 10 * index, 20_002 + 10 * index] },
  ]);
  return {
    services: Object.fromEntries([...servicesOf(choices), ...others]),
    ...{ policy, hook, priority, table, closed, prefix, strict, interfaces },
    public: TARGETS.filter(target => choices[target] === 'public'),
    allow: allow === 'nobody' ? [] : allow === 'others' ? ['203.0.113.0/24'] : Object.values(SOURCES[allow]),
    limits: { clients: choices.clients },
    log: { refused: choices.refused },
  };
}

/** The services that have ports. */
function servicesOf(choices: Choices): (readonly [name: string, service: object])[] {
  return Object.entries(serviceNames(choices)).flatMap(([who, name], index) => {
    const ports = TARGETS.filter(target => choices[target] === who);
    if (ports.length === 0) return [];
    const first = 10_000 + 100 * index + 10 * choices.knocks;
    const sequence = [first, first + 4, first + 2];
    const service = {
      ports: joined(ports),
      ...(choices.users && who !== 'first' ? { sequences: { alice: sequence } } : { sequence }),
      ...(choices.singleUse === who && { singleUse: true }),
      ...(who === 'second' && { closed: choices.secondClosed }),
      knockTimeout: choices.knockTimeout,
      openFor: choices.openFor,
    };
    return [[name, service]];
  });
}

function serviceNames({ first }: Choices): Readonly<Record<'first' | 'second' | 'third', string>> {
  return { first, second: 'web', third: 'admin' };
}

/** The ports, with neighbouring ones joined to a range. */
function joined(ports: readonly Target[]): string[] {
  const singles = ports.filter(port => !port.startsWith('800'));
  const row = ports.filter(port => port.startsWith('800')).map(port => Number.parseInt(port, 10));
  const [first, last] = [row[0], row.at(-1)];
  if (first === undefined || last === undefined) return singles;
  if (last - first + 1 !== row.length) return [...singles, ...row.map(port => `${port}/tcp`)];
  return [...singles, first === last ? `${first}/tcp` : `${first}-${last}/tcp`];
}

/** The names of services that both configurations have. A client that is in one of them stays in. */
function sharedServices({ one, other }: Pair): string[] {
  const names = servicesOf(other).map(([name]) => name);
  return servicesOf(one).flatMap(([name]) => (names.includes(name) ? [name] : []));
}

type Answer = 'open' | 'closed' | 'either';

/** The fate of a new packet to a port. `either`: earlier packets decide, so the model does not say. */
function answer(choices: Choices, who: Who, port: Target, shared: readonly string[]): Answer {
  if (!looksAtEth0(choices) || choices.allow === who) return 'open';
  const owner = choices[port];
  // the other host's answer is forwarded, which only guards before DNAT can prevent
  if (port === PUBLISHED && choices.hook === 'input') return 'open';
  if (owner === 'public') return 'open';
  if (owner === 'nobody') return choices.policy === 'drop' && port !== PUBLISHED ? 'closed' : 'open';
  if (who === 'stranger') return 'closed';
  if (!shared.includes(serviceNames(choices)[owner])) return 'closed';
  return choices.singleUse === owner ? 'either' : 'open';
}

function looksAtEth0({ interfaces }: Choices): boolean {
  return interfaces.length === 0 || interfaces.some(name => name === 'eth0' || name === 'eth*');
}

/** The ports that both configurations keep closed to `who`, or open. */
export function portsThatStay(pair: Pair, who: Who, as: 'open' | 'closed'): Target[] {
  const shared = sharedServices(pair);
  const dropped = new Set<Target>(
    pair.neighbours.flatMap(({ verdict, port }) => (verdict === 'drop' && port !== PUBLISHED ? [port] : [])),
  );
  return TARGETS.filter(port => {
    if (dropped.has(port)) return false;
    return [pair.one, pair.other].every(choices => answer(choices, who, port, shared) === as);
  });
}

/** An nft script with the neighbours, and the grants for both lengths of a prefix. */
export function surroundings(pair: Pair, clients: readonly string[]): string {
  const neighbours = pair.neighbours.map(
    ({ priority, port, verdict, rules }, index) => `chain input${index} {
    type filter hook input priority ${priority}
    ${Array.from({ length: rules }, (_, number) => `meta mark ${number + 1} drop`).join('\n    ')}
    ${port.slice(-3)} dport ${port.slice(0, -4)} ${verdict}
  }`,
  );
  const grants = sharedServices(pair).flatMap(service =>
    (['ipv4', 'ipv6'] as const).map(family => {
      const own = clients.filter(address => address.includes(':') === (family === 'ipv6'));
      return `add element inet ${pair.one.table} ${service}_clients_${family} { ${own.join(', ')} }`;
    }),
  );
  return `add table inet neighbours
delete table inet neighbours
table inet neighbours {
  ${neighbours.join('\n  ')}
}
${grants.join('\n')}`;
}
