import { byName, type Ruleset } from '../nftables/ruleset.ts';
import { names } from '../ruleset/names.ts';
import { guardedPorts, guardMap } from '../ruleset/program.ts';

/**
 * What the next transaction is to make of the table, on the way to `wanted`: nearly always `wanted` itself.
 *
 * A transaction is atomic for each packet but in one respect: the kernel takes a packet's rules from the generation in
 * which it entered a base chain, and elements of maps from the current one. A packet that is under way at that moment
 * finds the new element, goes to a chain that has no rules yet in its generation, falls off its end, and is accepted.
 * So where a port that is guarded already comes to be guarded by a new chain or at another hook, first all that is new is
 * made beside the old, then things lead there, and last the old goes. At every step the old or the new guards.
 */
export function nextStage(current: Ruleset, wanted: Ruleset, isThere: (stage: Ruleset) => boolean): Ruleset {
  if (!movesGuards(current, wanted)) return wanted;
  const beside = union(current, wanted);
  if (!isThere(beside)) return beside;
  const before = union(wanted, current);
  return isThere(before) ? wanted : before;
}

/** Whether a port that is guarded, and stays so, is led to another hook, or to a chain that has to be made. */
function movesGuards(current: Ruleset, wanted: Ruleset): boolean {
  const prerouting = (ruleset: Ruleset) =>
    ruleset.chains.some(({ name, hook }) => name === 'prerouting' && hook);
  const moves = prerouting(current) !== prerouting(wanted);
  const there = byName(current.chains);
  const made = new Set(
    wanted.chains.flatMap(({ name }) => (name.startsWith(names.guard('')) && !there.has(name) ? [name] : [])),
  );
  if (!moves && made.size === 0) return false;
  const guarded = guardedPorts(current);
  if (moves) return [...guardedPorts(wanted)].some(port => guarded.has(port));
  const keys = new Set(guarded.size > 0 ? guardElements(current).map(({ key }) => key.toString('hex')) : []);
  return guardElements(wanted).some(
    ({ key, data }) =>
      data !== undefined && 'chain' in data && made.has(data.chain) && keys.has(key.toString('hex')),
  );
}

function guardElements(ruleset: Ruleset) {
  const map = guardMap(ruleset);
  return ruleset.sets.find(({ name }) => name === map)?.elements ?? [];
}

/** All of the first, and of the second what the first has no object of that name for. */
function union(first: Ruleset, second: Ruleset): Ruleset {
  const join = <T extends { readonly name: string }>(a: readonly T[], b: readonly T[]): readonly T[] => {
    const there = new Set(a.map(({ name }) => name));
    return [...a, ...b.filter(({ name }) => !there.has(name))];
  };
  return {
    table: first.table,
    counters: join(first.counters, second.counters),
    sets: join(first.sets, second.sets),
    chains: join(first.chains, second.chains),
  };
}
