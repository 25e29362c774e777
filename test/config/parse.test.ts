import { applyEdits, modify, parse as parseJson } from 'jsonc-parser';
import t from 'tap';
import { parseConfig } from '../../src/config/parse.ts';
import { ConfigError } from '../../src/config/problems.ts';
import { configSchema } from '../../src/config/schema.ts';
import type { JsonSchema } from '../../src/config/shape.ts';
import type { Config } from '../../src/config/types.ts';

const SMALLEST = '{ "services": { "ssh": { "ports": [22], "sequence": [10000, 2345, 3456, 1234] } } }';

function config(text: string, env: NodeJS.ProcessEnv = {}): Config {
  return parseConfig(text, 'FILE', env).config;
}

t.test('the smallest useful file gets every default', t => {
  t.strictSame(config(SMALLEST), {
    services: [
      {
        name: 'ssh',
        ports: [{ protocol: 'tcp', first: 22, last: 22 }],
        sequences: [
          {
            user: null,
            knocks: [10000, 2345, 3456, 1234].map(port => ({ protocol: 'tcp', port })),
          },
        ],
        tokens: [],
        knockTimeout: 5000,
        openFor: 10_000,
        singleUse: false,
        closed: 'drop',
      },
    ],
    token: { port: { protocol: 'udp', port: 62201 }, realm: 'default', hours: 24, payload: [] },
    policy: 'accept',
    public: [],
    allow: [],
    interfaces: [],
    hook: 'input',
    priority: -10,
    prefix: { ipv4: 32, ipv6: 128 },
    strict: true,
    limits: { progress: 65535, clients: 65535 },
    table: 'knockd',
    metrics: false,
    log: { level: 'info', format: 'auto', refused: false, group: 22 },
  });
  t.end();
});

/** No value in it is a default. */
const EVERY_KEY = `// a comment
{
  "$schema": "./knockd-nft.schema.json",
  "services": {
    "web_1": {
      "ports": [443, "8000-8010/tcp", "53/udp",], /* three kinds */
      "sequences": { "alice": ["7000/udp", 7001, "9000/tcp"], "bob-2": [1, 5, 3] },
      "knockTimeout": "1m30s", "openFor": 2.5, "singleUse": true, "closed": "drop",
    },
    "dns": { "ports": ["54/udp"], "sequence": [1, 2000, 65535], "tokens": { "phone": "${'0a'.repeat(32)}" } },
  },
  "token": { "port": "62202/udp", "realm": "my.host", "hours": 12, "payload": ["8080/tcp"] },
  "closed": "reject",
  "policy": "drop",
  "public": [80, "81/tcp", "100-200/udp"],
  "allow": ["192.0.2.7", "2001:db8::/32"],
  "interfaces": ["eth0", "wg*"],
  "hook": "prerouting",
  "priority": -199,
  "prefix": { "ipv4": 24, "ipv6": 64 },
  "strict": false,
  "limits": { "progress": 1, "clients": 16777216 },
  "table": "my_knockd2",
  "metrics": true,
  "log": { "level": "silent", "format": "json", "refused": true, "group": 0 },
}`;

/** The place of each key of a schema: `services.web_1.ports` for one of a service. */
function places({ properties = {} }: JsonSchema, value: unknown): readonly (readonly string[])[] {
  const of = (value ?? {}) as Readonly<Record<string, unknown>>;
  return Object.entries(properties as Readonly<Record<string, JsonSchema>>).flatMap(([name, schema]) => {
    const each = schema.additionalProperties as JsonSchema | boolean | undefined;
    const below =
      typeof each === 'object'
        ? Object.entries(of[name] ?? {}).flatMap(([one, it]) => places(each, it).map(path => [one, ...path]))
        : places(schema, of[name]);
    return [[name], ...below.map(path => [name, ...path])];
  });
}

t.test(
  'no key of the file is dropped in silence: without any of them the configuration is another one',
  t => {
    const whole = config(EVERY_KEY);
    const value = parseJson(EVERY_KEY, [], { allowTrailingComma: true });
    const all = places(configSchema(), value);
    t.ok(all.length > 40, `${all.length} keys`);
    const stands = (path: readonly string[]) => path.reduce((at, name) => at?.[name], value) !== undefined;
    const nowhere = all.filter(path => !all.some(other => other.at(-1) === path.at(-1) && stands(other)));
    t.same(nowhere, [], 'each stands in the example');
    for (const path of all.filter(stands).filter(([name]) => name !== '$schema')) {
      const text = applyEdits(EVERY_KEY, modify(EVERY_KEY, [...path], undefined, {}));
      t.notSame(attempt(text), whole, path.join('.'));
    }
    t.end();
  },
);

/** Its meaning, or its problems. */
function attempt(text: string): unknown {
  try {
    return config(text);
  } catch (error) {
    return error;
  }
}

t.test('every key of the file is used, with comments and trailing commas', t => {
  t.strictSame(config(EVERY_KEY), {
    services: [
      {
        name: 'web_1',
        ports: [
          { protocol: 'tcp', first: 443, last: 443 },
          { protocol: 'tcp', first: 8000, last: 8010 },
          { protocol: 'udp', first: 53, last: 53 },
        ],
        sequences: [
          {
            user: 'alice',
            knocks: [
              { protocol: 'udp', port: 7000 },
              { protocol: 'tcp', port: 7001 },
              { protocol: 'tcp', port: 9000 },
            ],
          },
          { user: 'bob-2', knocks: [1, 5, 3].map(port => ({ protocol: 'tcp', port })) },
        ],
        tokens: [],
        knockTimeout: 90_000,
        openFor: 2500,
        singleUse: true,
        closed: 'drop',
      },
      {
        name: 'dns',
        ports: [{ protocol: 'udp', first: 54, last: 54 }],
        sequences: [{ user: null, knocks: [1, 2000, 65535].map(port => ({ protocol: 'tcp', port })) }],
        tokens: [{ user: 'phone', secret: Buffer.alloc(32, 10) }],
        knockTimeout: 5000,
        openFor: 10_000,
        singleUse: false,
        closed: 'reject',
      },
    ],
    token: {
      port: { protocol: 'udp', port: 62202 },
      realm: 'my.host',
      hours: 12,
      payload: [{ protocol: 'tcp', port: 8080 }],
    },
    policy: 'drop',
    public: [
      { protocol: 'tcp', first: 80, last: 81 },
      { protocol: 'udp', first: 100, last: 200 },
    ],
    allow: [
      { family: 'ipv4', address: Buffer.of(192, 0, 2, 7), length: 32 },
      {
        family: 'ipv6',
        address: Buffer.of(0x20, 0x01, 0x0d, 0xb8, ...Array<number>(12).fill(0)),
        length: 32,
      },
    ],
    interfaces: ['eth0', 'wg*'],
    hook: 'prerouting',
    priority: -199,
    prefix: { ipv4: 24, ipv6: 64 },
    strict: false,
    limits: { progress: 1, clients: 16777216 },
    table: 'my_knockd2',
    metrics: true,
    log: { level: 'silent', format: 'json', refused: true, group: 0 },
  });
  t.end();
});

t.test('services and users may have the names of properties that objects inherit', t => {
  const text = '{ "services": { "constructor": { "ports": [22], "sequences": { "valueof": [7, 9, 1] } } } }';
  t.match(config(text).services, [{ name: 'constructor', sequences: [{ user: 'valueof' }] }]);
  t.end();
});

t.test('an interface that a wildcard covers is left out', t => {
  const text = `{ "interfaces": ["eth0", "wg0", "wg*", "eth0", "w", "wg1*"], ${SMALLEST.slice(1)}`;
  t.same(config(text).interfaces, ['eth0', 'wg*', 'w']);
  t.end();
});

t.test('KNOCKD_NFT_LOG_LEVEL and KNOCKD_NFT_LOG_FORMAT come before the file', t => {
  const text = `{ "log": { "level": "warn", "format": "text", "group": 5 }, ${SMALLEST.slice(1)}`;
  const env = { KNOCKD_NFT_LOG_LEVEL: 'debug', KNOCKD_NFT_LOG_FORMAT: 'json' };
  t.match(config(text, env).log, { level: 'debug', format: 'json', group: 5 });
  t.match(config(SMALLEST, env).log, { level: 'debug', format: 'json', group: 22 });
  t.match(config(text, { KNOCKD_NFT_LOG_LEVEL: '' }).log, { level: 'warn' }, 'empty is unset');
  t.end();
});

t.test('no other variable and no argument of the process changes the configuration', t => {
  t.strictSame(config(SMALLEST, { LOG_LEVEL: 'debug', KNOCKD_NFT_TABLE: 'x', LEVEL: 'x' }), config(SMALLEST));
  t.end();
});

t.test('a wrong variable does not hide mistakes in the file', t => {
  try {
    config('{ "services": 1 }', { KNOCKD_NFT_LOG_LEVEL: 'loud' });
    t.fail('accepted');
  } catch (error) {
    t.ok(error instanceof ConfigError);
    if (error instanceof ConfigError) {
      t.same(
        error.problems.map(problem => problem.file),
        ['KNOCKD_NFT_LOG_LEVEL', 'FILE'],
      );
    }
  }
  t.end();
});

t.test('reading twice gives equal values that share nothing', t => {
  const [first, second] = [config(SMALLEST), config(SMALLEST)];
  t.strictSame(first, second);
  t.not(first.log, second.log);
  t.not(first.limits, second.limits);
  t.end();
});

t.test('thousands of services with several users each are read, in their order', t => {
  const services = Array.from({ length: 2500 }, (_, service) => {
    const users = Array.from({ length: 4 }, (_, user) => {
      const n = service * 4 + user;
      return `"u${user}": [${20_000 + n}, ${40_000 - n}, ${50_000 + n}, 60001]`;
    });
    return `"s${service}": { "ports": [${1000 + service}], "sequences": { ${users.join(', ')} } }`;
  });
  const read = config(`{ "services": { ${services.join(',\n')} } }`);
  t.equal(read.services.length, 2500);
  t.equal(read.services[2499]?.name, 's2499');
  t.equal(read.services[2499]?.sequences[3]?.knocks[0]?.port, 29_999);
  t.end();
});
