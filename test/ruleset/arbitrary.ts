/** Random valid configurations with few ports. Their sequences share beginnings and repeat knocks. */
import fc from 'fast-check';
import { parseConfig } from '../../src/config/parse.ts';
import type { Config } from '../../src/config/types.ts';

/** All knocks of these configurations. */
export const KNOCKS = ['7001/tcp', '7001/udp', '7003/tcp', '7005/tcp', '7007/udp'] as const;

const SERVICES = {
  ssh: ['22/tcp'],
  admin: ['8443/tcp', '53/udp'],
  web: ['8000-8002/tcp'],
} as const;
const USERS = ['alice', 'bob', 'carol'] as const;

const sequence = fc.array(fc.constantFrom(...KNOCKS), { minLength: 1, maxLength: 5 });

const service = fc.record({
  sequences: fc.array(sequence, { minLength: 1, maxLength: 3 }),
  users: fc.boolean(),
  knockTimeout: fc.constantFrom('1s', '2s', '5s', '1m30s'),
  openFor: fc.constantFrom('1s', '3s', '10s', '1h'),
  singleUse: fc.boolean(),
  closed: fc.constantFrom('drop', 'reject', 'prohibited'),
});

const settings = fc.record({
  strict: fc.boolean(),
  policy: fc.constantFrom('accept', 'drop'),
  hook: fc.constantFrom('input', 'prerouting'),
  prefix: fc.constantFrom({}, { ipv6: 64 }, { ipv4: 24, ipv6: 56 }, { ipv4: 25, ipv6: 127 }),
  interfaces: fc.constantFrom([], ['eth0'], ['eth*', 'wg0']),
  allow: fc.constantFrom([], ['10.0.0.0/8'], ['10.1.0.0/16', '2001:db8:1::/48', '192.0.2.200']),
  public: fc.constantFrom([], [80], [80, '6000-6003/udp']),
  limits: fc.constantFrom({}, { progress: 1000, clients: 500 }),
  priority: fc.constantFrom(-10, 0, -150),
  log: fc.record({ refused: fc.boolean(), group: fc.constantFrom(0, 22) }),
});

/** A configuration as the object in the file. */
export interface Written {
  readonly services: Readonly<Record<string, Readonly<Record<string, unknown>>>>;
  readonly [key: string]: unknown;
}

/** Valid configurations as written. Random sequences that conflict with earlier ones are left out. */
export const written: fc.Arbitrary<Written> = fc
  .tuple(fc.record({ ssh: service, admin: service, web: service }, { requiredKeys: [] }), settings)
  .map(([drawn, rest]) => {
    const taken: string[] = [];
    const services = Object.entries(drawn).flatMap(([name, { sequences, users, ...others }]) => {
      const allowed = sequences
        .map(knocks => knocks.filter((knock, index) => knock !== knocks[index - 1]))
        .filter(knocks => {
          const text = knocks.join(' ');
          if (taken.some(other => `${text} `.startsWith(`${other} `) || `${other} `.startsWith(`${text} `)))
            return false;
          taken.push(text);
          return true;
        });
      const [first] = allowed;
      if (!first) return [];
      const how =
        users || allowed.length > 1
          ? { sequences: Object.fromEntries(allowed.map((knocks, index) => [USERS[index], knocks])) }
          : { sequence: first };
      return [[name, { ports: SERVICES[name as keyof typeof SERVICES], ...how, ...others }] as const];
    });
    return { ...rest, services: Object.fromEntries(services) };
  });

export function read(file: Written): Config {
  return parseConfig(JSON.stringify(file), 'FILE', {}).config;
}

export const config: fc.Arbitrary<Config> = written.map(read);
