/**
 * Before a commit the kernel goes all ways through a table from its base chains. Older ones, such as Debian's 6.1, go into a chain
 * anew for each element of a map that leads there (nft_chain_validate).
 */
import t from 'tap';
import { VERDICT } from '../../src/nftables/register.ts';
import type { Ruleset } from '../../src/nftables/ruleset.ts';
import { byName } from '../../src/nftables/ruleset.ts';
import { compile } from '../../src/ruleset/compile.ts';
import { read, type Written } from './arbitrary.ts';

/** How often such a kernel goes into a chain. */
function visits(ruleset: Ruleset): number {
  const [chains, sets] = [byName(ruleset.chains), byName(ruleset.sets)];
  const known = new Map<string, number>();
  const into = (name: string): number => {
    const count = known.get(name) ?? 1 + targets(name).reduce((sum, target) => sum + into(target), 0);
    known.set(name, count);
    return count;
  };
  const targets = (name: string) =>
    (chains.get(name)?.rules ?? [])
      .flatMap(({ expressions }) => expressions)
      .flatMap(it => {
        if (it.kind === 'immediate' && 'verdict' in it) return [it.verdict];
        if (it.kind !== 'lookup' || it.dreg !== VERDICT) return [];
        return (sets.get(it.set)?.elements ?? []).flatMap(({ data }) =>
          data && 'code' in data ? [data] : [],
        );
      })
      .flatMap(verdict => ('chain' in verdict ? [verdict.chain] : []));
  return ruleset.chains.filter(({ hook }) => hook).reduce((sum, { name }) => sum + into(name), 0);
}

/** Services of this number, each with a sequence of its own. */
function services(count: number): Written['services'] {
  const sequence = (index: number) => [20_000, 30_000, 40_000, 50_000].map(first => first + index);
  return Object.fromEntries(
    [...Array(count).keys()].map(index => [
      `s${index}`,
      { ports: [1000 + index], sequence: sequence(index) },
    ]),
  );
}

t.test('ten times the services are ten times the ways that the kernel checks, not a hundred times', t => {
  for (const settings of [{}, { policy: 'drop' }, { strict: false }, { hook: 'prerouting' }]) {
    const [some, many] = [30, 300].map(count =>
      visits(compile(read({ ...settings, services: services(count) }), '1.2.3')),
    );
    t.ok(
      (some ?? 0) > 30 && (many ?? 0) <= 10 * (some ?? 0),
      `${JSON.stringify(settings)}: ${some}, then ${many}`,
    );
  }
  t.end();
});
