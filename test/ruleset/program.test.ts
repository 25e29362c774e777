/**
 * The program that status, diff and the loader read back from a table alone, in any order in which the kernel lists it.
 */

import assert from 'node:assert/strict';
import fc from 'fast-check';
import t from 'tap';
import type { Config } from '../../src/config/types.ts';
import { formatPortRange, mergePortRanges } from '../../src/inet/port.ts';
import type { Ruleset } from '../../src/nftables/ruleset.ts';
import { compile, programOf } from '../../src/ruleset/compile.ts';
import { differences } from '../../src/ruleset/describe.ts';
import { names } from '../../src/ruleset/names.ts';
import { decompile, guardedPorts, tokenPlaces } from '../../src/ruleset/program.ts';
import { emptyStatus, readStatus } from '../../src/ruleset/status.ts';
import { config, KNOCKS, read, type Written, written } from './arbitrary.ts';

const byName = <T extends { readonly name: string }>(list: readonly T[]) =>
  list.toSorted((a, b) => (a.name < b.name ? -1 : 1));

/** The same table in another order: of objects, and of elements in sets that are no ranges (hash tables). */
function reordered(ruleset: Ruleset): Ruleset {
  return {
    ...ruleset,
    counters: byName(ruleset.counters).toReversed(),
    chains: byName(ruleset.chains).toReversed(),
    sets: byName(ruleset.sets).map(set => ({ ...set, elements: set.elements.toReversed() })),
  };
}

/** Both orders must say the same. */
function ofBoth<T>(config: Config, readBack: (ruleset: Ruleset) => T): T {
  const ruleset = { ...compile(config, '1.2.3') }; // a copy, as the kernel gives it: its program is not known
  const value = readBack(ruleset);
  assert.deepEqual(readBack(reordered(ruleset)), value, 'in another order');
  return value;
}

const texts = (ranges: Config['public']) => mergePortRanges(ranges).map(formatPortRange);

t.test('the meaning of a configuration is read back from its table', t => {
  fc.assert(
    fc.property(config, config => assert.deepEqual(ofBoth(config, decompile), programOf(config))),
    { numRuns: 300 },
  );
  t.end();
});

t.test('users with tokens and services without ports are read back, too', t => {
  const config = read({
    services: {
      ssh: {
        ports: [22],
        sequences: { alice: ['7001/tcp', '7003/tcp'] },
        tokens: { alice: '5a'.repeat(32), bob: 'a5'.repeat(32) },
      },
      bell: { ports: [], sequence: ['7005/tcp', '7001/udp'], knockTimeout: '2s' },
    },
  });
  const program = ofBoth(config, decompile);
  t.same(program, programOf(config));
  t.strictSame(
    [...tokenPlaces(program).values()],
    [
      { service: 'ssh', user: 'alice' },
      { service: 'ssh', user: 'bob' },
    ],
  );
  t.match(program.services.get('bell'), { ports: [], openFor: undefined, sequences: [{ pauses: [2000] }] });
  t.strictSame([...guardedPorts(program)], ['22/tcp']);
  t.end();
});

t.test('a table somebody tampered with is read as far as it makes sense', t => {
  const ruleset = compile(
    read({ services: { ssh: { ports: [22], sequence: ['7001/tcp', '7003/tcp'] } } }),
    '0',
  );
  const steps = ruleset.sets.find(({ name }) => name === names.steps)?.elements ?? [];
  // back from the second place to the first: a circle
  const [first, second] = steps;
  const [to, from] = [first?.data, second?.data];
  assert.ok(Buffer.isBuffer(to) && Buffer.isBuffer(from));
  const circle = { key: Buffer.concat([to, Buffer.from('0600000022220000', 'hex')]), data: to };
  const tampered: Ruleset = {
    ...ruleset,
    sets: ruleset.sets.map(set =>
      set.name === names.steps
        ? { ...set, elements: [...set.elements, circle, { key: Buffer.from([1]), data: to }] }
        : { ...set, elements: [...set.elements, { key: Buffer.alloc(0) }] },
    ),
  };
  t.equal(decompile(tampered).services.get('ssh')?.sequences.length, 1);
  t.doesNotThrow(() => readStatus({ ...ruleset, sets: [] }, null));
  t.end();
});

t.test('a fresh table has its services, nobody in them, and nothing counted', t => {
  fc.assert(
    fc.property(config, config => {
      const status = ofBoth(config, ruleset => readStatus(ruleset, true));
      assert.deepEqual(status, {
        loaded: true,
        inSync: true,
        guarded: config.services.length > 0 || config.policy === 'drop',
        table: 'knockd',
        services: Object.fromEntries(
          config.services.map(({ name, ports }) => [
            name,
            { ports: texts(ports), clients: [], opened: 0, accepted: 0, refused: 0 },
          ]),
        ),
        knocking: [],
        wrongKnocks: 0,
        mistaken: [],
      });
    }),
    { numRuns: 100 },
  );
  t.strictSame(emptyStatus('knockd').services, {});
  t.end();
});

t.test('clients that somebody added by hand are reported, for good if they have no time-out', t => {
  const ruleset = compile(
    read({
      services: { admin: { ports: [22], sequences: { alice: ['7001/tcp', '7003/tcp'] } } },
      prefix: { ipv6: 64 },
    }),
    '0',
  );
  const add = (name: string, elements: Ruleset['sets'][number]['elements']): Ruleset => ({
    ...ruleset,
    sets: ruleset.sets.map(set => (set.name === name ? { ...set, elements } : set)),
  });
  const v4 = add('admin_clients_ipv4', [{ key: Buffer.from([192, 0, 2, 7]) }]);
  t.strictSame(readStatus(v4, true).services.admin?.clients, [
    { address: '192.0.2.7', user: null, expires: null },
  ]);
  const key = Buffer.from('20010db8000000010000000000000000', 'hex');
  const v6 = add('admin_clients_ipv6', [{ key, timeout: 10_000, expires: 9700 }]);
  t.strictSame(readStatus(v6, true).services.admin?.clients, [
    { address: '2001:db8:0:1::/64', user: null, expires: 9.7 },
  ]);
  const unknown = add('progress_ipv4', [
    { key: Buffer.from([192, 0, 2, 7]), data: Buffer.from([1, 2, 3, 4]) },
  ]);
  t.strictSame(readStatus(unknown, true).knocking, [], 'a place of a sequence that is gone');
  t.end();
});

const BASE: Written = {
  services: {
    ssh: { ports: [22], sequence: ['7001/tcp', '7003/tcp', '7005/tcp'] },
    admin: {
      ports: ['8443/tcp'],
      sequences: { alice: ['7001/udp', '7005/tcp'], bob: ['7007/udp', '7001/tcp'] },
    },
  },
};

function change(
  edit: (file: { services: Record<string, Record<string, unknown>>; [key: string]: unknown }) => void,
) {
  const file = structuredClone(BASE) as Parameters<typeof edit>[0];
  edit(file);
  const ruleset = (written: Written) => compile(read(written), '0');
  return differences(decompile(reordered(ruleset(BASE))), programOf(read(file)));
}

/** One edit of the file, and the report on it. */
const EDITS: readonly (readonly [Parameters<typeof change>[0], string, unknown, unknown])[] = [
  [
    f => (f.services.ssh = { ...f.services.ssh, ports: [22, '2222-2223/tcp'] }),
    'services.ssh.ports',
    '22/tcp',
    '22/tcp, 2222-2223/tcp',
  ],
  [f => (f.services.ssh = { ...f.services.ssh, openFor: '1m30s' }), 'services.ssh.openFor', '10s', '1m30s'],
  [
    f => (f.services.ssh = { ...f.services.ssh, knockTimeout: '2h' }),
    'services.ssh.knockTimeout',
    '5s',
    '2h',
  ],
  [f => (f.services.ssh = { ...f.services.ssh, singleUse: true }), 'services.ssh.singleUse', 'false', 'true'],
  [f => (f.services.ssh = { ...f.services.ssh, closed: 'reject' }), 'services.ssh.closed', 'drop', 'reject'],
  [
    f => (f.services.ssh = { ...f.services.ssh, closed: 'prohibited' }),
    'services.ssh.closed',
    'drop',
    'prohibited',
  ],
  [
    f => (f.services.ssh = { ...f.services.ssh, sequence: ['7001/tcp', '7005/tcp', '7003/tcp'] }),
    'services.ssh.sequence',
    null,
    null,
  ],
  [
    f => (f.services.admin = { ports: ['8443/tcp'], sequences: { alice: ['7001/udp', '7005/tcp'] } }),
    'services.admin.sequences.bob',
    null,
    undefined,
  ],
  [
    f => (f.services.web = { ports: [80], sequence: ['7003/tcp', '7001/tcp'] }),
    'services.web',
    undefined,
    'new',
  ],
  [f => delete f.services.ssh, 'services.ssh', 'gone', undefined],
  [f => (f.policy = 'drop'), 'policy', 'accept', 'drop'],
  [f => (f.public = [80, 81, '53/udp']), 'public', '', '80-81/tcp, 53/udp'],
  [f => (f.allow = ['10.0.0.0/8', '2001:db8::/32']), 'allow', '', '10.0.0.0/8, 2001:db8::/32'],
  [
    f => (f.allow = ['192.0.2.1', '192.0.2.2', '192.0.2.4', '255.255.255.255', '0.0.0.0']),
    'allow',
    '',
    '0.0.0.0, 192.0.2.1, 192.0.2.2, 192.0.2.4, 255.255.255.255',
  ],
  [f => (f.interfaces = ['eth0', 'wg*']), 'interfaces', '', 'eth0, wg*'],
  [f => (f.hook = 'prerouting'), 'hook', 'input', 'prerouting'],
  [f => (f.priority = -100), 'priority', '-10', '-100'],
  [f => (f.prefix = { ipv6: 64 }), 'prefix.ipv6', '128', '64'],
  [f => (f.prefix = { ipv4: 24 }), 'prefix.ipv4', '32', '24'],
  [f => (f.strict = false), 'strict', 'true', 'false'],
  [f => (f.limits = { progress: 1000 }), 'limits.progress', '65535', '1000'],
  [f => (f.limits = { clients: 1000 }), 'limits.clients', '65535', '1000'],
  [f => (f.table = 'other'), 'table', 'knockd', 'other'],
  [f => (f.log = { refused: true }), 'log.refused', 'false', 'true'],
  [f => (f.log = { group: 5 }), 'log.group', '22', '5'],
];

for (const [edit, key, before, after] of EDITS)
  t.test(`a change of ${key} is reported as such`, t => {
    t.strictSame(change(edit), [{ key, before, after }]);
    t.end();
  });

t.test('networks that touch have the same text in any order in which the kernel lists them', t => {
  const ruleset = compile(
    read({ ...BASE, allow: ['192.0.2.1', '192.0.2.2', '192.0.2.4/30', '192.0.2.8'] }),
    '0',
  );
  t.strictSame(differences(decompile(reordered(ruleset)), decompile(ruleset)), []);
  t.end();
});

/** A pair of files of which the second changes a few top-level keys or services of the first. */
const pair = fc
  .tuple(written, written, fc.array(fc.boolean(), { minLength: 12, maxLength: 12 }))
  .map(([a, b, which]) => {
    const keys = Object.keys(b);
    return [
      a,
      { ...a, ...Object.fromEntries(Object.entries(b).filter(([key]) => which[keys.indexOf(key)])) },
    ] as const;
  });

t.test('tables that differ have a difference to tell, those that do not have none', t => {
  fc.assert(
    fc.property(pair, ([a, b]) => {
      const [before, after] = [compile(read(a), '1'), compile(read(b), '1')];
      assert.deepEqual(differences(decompile(reordered(before)), programOf(read(a))), []);
      const program = (ruleset: Ruleset) => {
        const { table, sets, chains } = ruleset;
        const plain = chains.map(chain => ({
          ...chain,
          rules: chain.rules.map(({ expressions }) => expressions),
        }));
        return JSON.stringify([table, byName(sets), byName(plain)]);
      };
      const told = differences(decompile({ ...before }), programOf(read(b)));
      // the settings of services show only if there is one
      if (program(before) === program(after)) assert.deepEqual(told, []);
      else assert.notDeepEqual(told, []);
    }),
    { numRuns: 300 },
  );
  t.end();
});

t.test('no difference and no status ever holds a port of a sequence', t => {
  const secret = new RegExp(`\\b(${KNOCKS.map(knock => knock.split('/')[0]).join('|')})\\b`);
  fc.assert(
    fc.property(written, written, (a, b) => {
      const [before, after] = [{ ...compile(read(a), '1') }, { ...compile(read(b), '1') }];
      for (const told of [
        differences(decompile(before), decompile(after)),
        differences(undefined, decompile(after)),
        readStatus(after, true),
      ])
        assert.doesNotMatch(JSON.stringify(told), secret);
    }),
    { numRuns: 200 },
  );
  t.end();
});

t.test('each look-up is one that every kernel takes: maps are asked for what they hold', async () => {
  fc.assert(
    fc.property(written, file => {
      const vpn = { ports: ['51820/udp'], tokens: { alice: 'a1'.repeat(32) } };
      const all = { ...file, services: { ...file.services, vpn }, token: { payload: ['80/tcp'] } };
      const { chains, sets } = compile(read(all), '0');
      const maps = new Set(sets.filter(({ data }) => data !== undefined).map(({ name }) => name));
      for (const { name, rules } of chains)
        for (const expression of rules.flatMap(({ expressions }) => expressions))
          if (expression.kind === 'lookup' && expression.dreg === undefined)
            assert.ok(
              !maps.has(expression.set),
              `chain ${name} asks map ${expression.set} as if it were a set`,
            );
    }),
  );
});
