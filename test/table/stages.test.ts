import t from 'tap';
import { parseConfig } from '../../src/config/parse.ts';
import type { ChainWithRules, Ruleset } from '../../src/nftables/ruleset.ts';
import { compile } from '../../src/ruleset/compile.ts';
import { decompile, guardedPorts } from '../../src/ruleset/program.ts';
import { plan } from '../../src/table/plan.ts';
import { nextStage } from '../../src/table/stages.ts';

const ssh = { ports: [22], sequence: [1000, 3000, 2000] };

function ruleset(config: object): Ruleset {
  return compile(parseConfig(JSON.stringify(config), 'test.json', {}).config, '1.0.0');
}

/** The stages from one table to another, as if each was committed. */
function stages(from: Ruleset, to: Ruleset): Ruleset[] {
  const seen: Ruleset[] = [];
  for (let current = from; seen.length < 8; ) {
    const target = nextStage(current, to, stage => plan(current, stage).length === 0);
    seen.push(target);
    if (target === to) return seen;
    current = target;
  }
  throw new Error('it does not end');
}

const chainOf = ({ chains }: Ruleset, name: string) => chains.find(chain => chain.name === name);

t.test('most changes are one transaction', t => {
  const from = ruleset({ services: { ssh } });
  for (const [what, config] of Object.entries({
    'a new service': { services: { ssh, web: { ports: [80], sequence: [1001, 3001, 2001] } } },
    'another sequence': { services: { ssh: { ...ssh, sequence: [1000, 5000, 2000] } } },
    'another port': { services: { ssh: { ...ssh, ports: [23] } } },
    'one more port': { services: { ssh: { ...ssh, ports: [22, 23] } } },
    'what a closed port shows': { services: { ssh }, closed: 'reject' },
    'how long it is open': { services: { ssh: { ...ssh, openFor: '1m' } } },
    interfaces: { services: { ssh }, interfaces: ['eth0'] },
    'how much of an address is a client': { services: { ssh }, prefix: { ipv4: 24 } },
    'nothing guarded any more': { services: {} },
  }))
    t.equal(stages(from, ruleset(config)).length, 1, what);
  t.end();
});

t.test('with any change, all ports that stay guarded are guarded at each stage', t => {
  const from = { services: { ssh } };
  const other = { web: { ports: [80], sequence: [1001, 3001, 2001] } };
  for (const [what, config, most] of [
    ['another policy', { ...from, policy: 'drop' }, 3],
    ['a service with another name', { services: { shell: ssh } }, 3],
    ['a port goes to another service', { services: { other: ssh, ...other } }, 3],
    ['who needs no knock', { ...from, allow: ['192.0.2.0/24'] }, 3],
    ['another priority', { ...from, priority: -20 }, 4],
    ['another hook', { ...from, hook: 'prerouting' }, 4],
    [
      'all of it',
      {
        services: { shell: ssh },
        policy: 'drop',
        priority: -20,
        hook: 'prerouting',
        allow: ['192.0.2.0/24'],
      },
      6,
    ],
  ] as const)
    for (const [one, two] of [
      [from, config],
      [config, from],
    ] as const) {
      const steps = stages(ruleset(one), ruleset(two));
      t.ok(steps.length <= most, `${what}: ${steps.length} transactions`);
      for (const step of steps.slice(0, -1)) t.ok(guardedPorts(decompile(step)).has('22/tcp'), what);
    }
  t.end();
});

/** The table as version 1.0.0 makes it: each element of a knock port goes to chain `knock` itself. */
function asBefore(table: Ruleset): Ruleset {
  const to = (chain: string) => ({ code: 'goto', chain }) as const;
  return {
    ...table,
    sets: table.sets.map(set => ({
      ...set,
      elements: set.elements.map(it =>
        it.data && 'code' in it.data && it.data.code === 'continue' ? { ...it, data: to('knock') } : it,
      ),
    })),
    chains: table.chains.map(chain => ({
      ...chain,
      rules: chain.rules.map(({ expressions, ...rest }) => ({
        ...rest,
        expressions: expressions.some(it => it.kind === 'lookup' && it.set === 'ports')
          ? expressions.filter(({ kind }) => kind !== 'immediate')
          : expressions,
      })),
    })),
  };
}

t.test('the table of version 1.0.0 becomes that of this one in one transaction, and back', t => {
  for (const settings of [{}, { policy: 'drop' }, { hook: 'prerouting' }, { strict: false }]) {
    const now = ruleset({ services: { ssh }, ...settings });
    const before = asBefore(now);
    t.notSame(before, now);
    t.equal(stages(before, now).length, 1);
    t.equal(stages(now, before).length, 1);
  }
  t.end();
});

t.test('first the rules read copies of the maps that change, and end with the policy', t => {
  const from = ruleset({ services: { ssh } });
  const to = ruleset({ services: { shell: ssh }, policy: 'drop' });
  const [held, swapped] = stages(from, to);
  const reads = (step: Ruleset | undefined, set: string) =>
    step &&
    chainOf(step, 'input')?.rules.some(({ expressions }) =>
      expressions.some(it => it.kind === 'lookup' && it.set === set),
    );
  const last = (step: Ruleset | undefined) => step && chainOf(step, 'input')?.rules.at(-1)?.expressions;
  t.ok(reads(held, 'held.ports') && !reads(held, 'ports'));
  t.strictSame(last(held), [{ kind: 'immediate', verdict: { code: 'accept' } }]);
  t.equal(held && chainOf(held, 'input')?.hook?.policy, 'accept', 'and the policy is as it was');
  t.ok(reads(swapped, 'ports'));
  t.strictSame(last(swapped), [{ kind: 'immediate', verdict: { code: 'drop' } }]);
  t.equal(swapped && chainOf(swapped, 'input')?.hook?.policy, 'drop');
  t.ok(
    swapped?.sets.some(({ name }) => name === 'held.ports'),
    'packets under way still read the copy',
  );
  t.end();
});

t.test('a chain that guards meanwhile uses nothing up, and looks at no knock', t => {
  const once = { services: { ssh: { ...ssh, singleUse: true } } };
  for (const [one, two] of [
    [once, { ...once, hook: 'prerouting' }],
    [once, { ...once, priority: 5, policy: 'drop' }],
  ] as const) {
    const [held] = stages(ruleset(one), ruleset(two));
    const asides = held?.chains.filter(({ name }) => name.startsWith('aside.')) ?? [];
    t.ok(asides.some(({ hook }) => hook));
    const kinds = asides.flatMap(({ rules }) =>
      rules.flatMap(({ expressions }) => expressions.map(({ kind }) => kind)),
    );
    for (const kind of ['dynset', 'objref', 'log'] as const) t.notOk(kinds.includes(kind), kind);
    t.notOk(asides.some(({ name }) => name === 'aside.knock'));
    const ports = held?.sets.find(({ name }) => name === 'aside.ports')?.elements ?? [];
    const knocks = ports.filter(({ key }) => ssh.sequence.includes(key.readUInt16BE(4)));
    t.ok(
      knocks.every(({ data }) => data && 'code' in data && data.code === 'accept'),
      'a knock passes',
    );
  }
  t.end();
});

const webPort = Buffer.from([6, 0, 0, 0, 0, 80, 0, 0]);

/** What a chain asks about a port: the verdict of the first map that has it. */
function verdictOn({ rules }: ChainWithRules, { sets }: Ruleset, port: Buffer): string | undefined {
  for (const { expressions } of rules)
    for (const expression of expressions) {
      const name = expression.kind === 'lookup' ? expression.set : undefined;
      const map = sets.find(it => it.name === name);
      const data = map?.elements.find(({ key }) => key.equals(port))?.data;
      if (data && !Buffer.isBuffer(data)) return data.code;
    }
  return undefined;
}

t.test('input lets a port through only after prerouting has guarded it for all packets', t => {
  const from = { services: { ssh }, policy: 'drop', hook: 'prerouting' };
  const web = { ports: [80], sequence: [1001, 3001, 2001] };
  const knocked = { ...from, services: { ssh: { ...ssh, sequence: [1000, 80, 2000] } } };
  for (const [what, config, count, start = from] of [
    ['one more port', { ...from, services: { ssh: { ...ssh, ports: [22, 80] } } }, 4],
    ['one more service', { ...from, services: { ssh, web } }, 4],
    ['a knock port', { ...from, services: { ssh, web } }, 4, knocked],
    ['another policy', { ...from, services: { ssh, web }, policy: 'accept' }, 4],
    ['another priority', { ...from, services: { ssh, web }, priority: -20 }, 5],
    ['who needs no knock', { ...from, services: { ssh, web }, allow: ['192.0.2.0/24'] }, 6],
  ] as const) {
    const ways = [ruleset(start), ...stages(ruleset(start), ruleset(config))];
    t.equal(ways.length - 1, count, what);
    for (const [index, before] of ways.slice(0, -1).entries()) {
      const after = ways[index + 1] ?? before;
      const guarded = before.chains.some(
        it => it.hook?.name === 'prerouting' && verdictOn(it, before, webPort) === 'goto',
      );
      const input = chainOf(after, 'input');
      const last = input?.rules.at(-1)?.expressions.at(-1);
      const drops =
        input?.hook?.policy === 'drop' ||
        (last?.kind === 'immediate' && 'verdict' in last && last.verdict.code === 'drop');
      const lets = input && (verdictOn(input, after, webPort) === 'accept' || !drops);
      t.ok(guarded || !lets, `${what}: from ${index} to ${index + 1}`);
    }
  }
  const accepts = { ...from, policy: 'accept' };
  t.equal(stages(ruleset(accepts), ruleset({ ...accepts, services: { ssh, web } })).length, 1, 'it was open');
  t.end();
});

t.test('a firewall without services drops the rest while its chains move', t => {
  const from = { services: {}, policy: 'drop' };
  for (const [what, config] of Object.entries({
    'another priority': { ...from, priority: -20 },
    'another priority, and a service': { services: { ssh }, policy: 'drop', priority: -20 },
    'both, before DNAT': { services: { ssh }, policy: 'drop', priority: -20, hook: 'prerouting' },
  }))
    for (const hook of ['input', 'prerouting']) {
      const ways = stages(ruleset({ ...from, hook }), ruleset({ hook, ...config }));
      const hasAside = ways.map(step => step.chains.some(it => it.hook && it.name === 'aside.input'));
      const isMoved = ways.map(step => chainOf(step, 'input')?.hook?.priority === -20);
      t.ok(hasAside[isMoved.indexOf(true)], `${what}, from ${hook}: the aside is there when the chain moves`);
    }
  t.end();
});

t.test('a loader that finds the table in between goes on from there, also to somewhere else', t => {
  const one = ruleset({ services: { ssh } });
  const all = { services: { shell: ssh }, policy: 'drop', priority: -20, hook: 'prerouting' };
  const others = [{ services: { ssh } }, all, { services: { ssh }, policy: 'drop' }].map(ruleset);
  const more = { ...all, services: { shell: { ...ssh, ports: [22, 80] } } };
  for (const between of [...stages(one, ruleset(all)), ...stages(ruleset(all), ruleset(more))])
    for (const other of others) {
      const steps = stages(between, other);
      t.equal(steps.at(-1), other);
      for (const step of steps.slice(0, -1)) t.ok(guardedPorts(decompile(step)).has('22/tcp'));
    }
  t.end();
});
