import t from 'tap';
import { parseConfig } from '../../src/config/parse.ts';
import type { Ruleset } from '../../src/nftables/ruleset.ts';
import { compile } from '../../src/ruleset/compile.ts';
import { guardedPorts } from '../../src/ruleset/program.ts';
import { plan } from '../../src/table/plan.ts';
import { nextStage } from '../../src/table/stages.ts';

const ssh = { ports: [22], sequence: [1000, 3000, 2000] };

function ruleset(config: object): Ruleset {
  return compile(parseConfig(JSON.stringify(config), 'test.json', {}).config, '1.0.0');
}

/** The stages from one table to another, as if each was committed. */
function stages(from: Ruleset, to: Ruleset): Ruleset[] {
  const seen: Ruleset[] = [];
  for (let current = from; seen.length < 5; ) {
    const target = nextStage(current, to, stage => plan(current, stage).length === 0);
    seen.push(target);
    if (target === to) return seen;
    current = target;
  }
  throw new Error('it does not end');
}

/** Names of the chains that a hooked chain may send packets to a guarded port to. */
function guards(set: string, { sets }: Ruleset): string[] {
  const elements = sets.find(({ name }) => name === set)?.elements ?? [];
  return elements.flatMap(({ data }) =>
    data && 'chain' in data && data.chain.startsWith('guard_') ? [data.chain] : [],
  );
}

t.test('most changes are one transaction', t => {
  const from = ruleset({ services: { ssh } });
  for (const [what, config] of Object.entries({
    'a new service': { services: { ssh, web: { ports: [80], sequence: [1001, 3001, 2001] } } },
    'another sequence': { services: { ssh: { ...ssh, sequence: [1000, 5000, 2000] } } },
    'another policy': { services: { ssh }, policy: 'drop' },
    'another port': { services: { ssh: { ...ssh, ports: [23] } } },
    'nothing guarded any more': { services: {} },
  }))
    t.equal(stages(from, ruleset(config)).length, 1, what);
  t.end();
});

t.test('a port that moves to a service that is new is led there when its chain stands', t => {
  const from = ruleset({ services: { ssh } });
  const to = ruleset({ services: { shell: ssh } });
  const [beside, last, ...more] = stages(from, to);
  t.equal(more.length, 0);
  t.equal(last, to);
  t.strictSame(beside && guards('ports', beside), ['guard_ssh']);
  t.ok(
    beside?.chains.find(({ name }) => name === 'guard_shell')?.rules.length,
    'the new chain has its rules',
  );
  t.end();
});

t.test('when the hook changes, one of the two guards at every step', t => {
  const input = ruleset({ services: { ssh } });
  const prerouting = ruleset({ services: { ssh }, hook: 'prerouting' });
  for (const [from, to] of [
    [input, prerouting],
    [prerouting, input],
  ] as const) {
    const steps = [from, ...stages(from, to)];
    t.equal(steps.length, 3);
    for (const step of steps) t.strictSame([...guardedPorts(step)], ['22/tcp']);
    const [, between] = steps;
    t.strictSame(between && [guards('ports', between), guards('guards', between)], [
      ['guard_ssh'],
      ['guard_ssh'],
    ]);
  }
  t.end();
});
