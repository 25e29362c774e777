import type { Rule } from '../nftables/ruleset.ts';
import { type Bits, both, type Match, YES } from './bits.ts';
import type { Decision, Step, Translation } from './decision.ts';
import { follow } from './follow.ts';
import type { Packet } from './packet.ts';
import type { Place } from './place.ts';
import { Registers } from './registers.ts';
import type { ForeignTable } from './table.ts';
import type { Written } from './written.ts';

/** The fate of a packet in a base chain. */
export type Fate = 'accept' | 'drop' | 'reject' | 'translate' | 'proxy' | 'unknown';

/** A fate, and the rule that decides it. */
export interface Ruling {
  readonly fate: Fate;
  /** undefined for the chain's policy. */
  readonly rule: Rule | undefined;
  readonly to?: Translation;
}

/** The way of a packet through a chain and the chains that it leads to. */
interface Walk {
  /** The most likely ruling; undefined if the packet most likely leaves the chain undecided. */
  readonly likely: Ruling | undefined;
  /** Everything that may happen to such a packet. */
  readonly possible: ReadonlySet<Fate>;
  /** Whether such a packet may leave the chain undecided. */
  readonly open: boolean;
  /** The rule on the likely way that takes the packet out of connection tracking. */
  readonly untracked: Rule | undefined;
  /** The ports whose sockets TPROXY may give the packet to. */
  readonly leads: readonly Bits[];
  /** The chains on the likely way, in order. */
  readonly chains: readonly string[];
}

const CIRCLE: Walk = {
  likely: undefined,
  possible: new Set(),
  open: true,
  untracked: undefined,
  leads: [],
  chains: [],
};

/** The outcome of a decision. */
interface Outcome {
  readonly likely: Ruling | 'leaves' | 'goes on';
  readonly possible: ReadonlySet<Fate>;
  /** Whether a packet may come to the next rule, or leave the chain. */
  readonly goesOn: boolean;
  readonly leaves: boolean;
  readonly walk?: Walk;
}

/** Walks a packet through the chains of one table. It walks each chain once, however many ways lead there. */
export class Walker {
  readonly #table: ForeignTable;
  readonly #packet: Packet;
  readonly #written: Written;
  readonly #walks = new Map<string, Walk>();

  constructor(table: ForeignTable, packet: Packet, written: Written) {
    this.#table = table;
    this.#packet = packet;
    this.#written = written;
  }

  walk(chain: string): Walk {
    const known = this.#walks.get(chain);
    if (known) return known;
    // no table has circles, but one that changes during the read may seem to
    this.#walks.set(chain, CIRCLE);
    const walk = this.#follow(chain);
    this.#walks.set(chain, walk);
    return walk;
  }

  #follow(chain: string): Walk {
    const possible = new Set<Fate>();
    const chains = [chain];
    const leads: Bits[] = [];
    let likely: Outcome['likely'] = 'goes on';
    let untracked: Rule | undefined;
    let open = false;
    for (const rule of this.#table.chains.get(chain)?.rules ?? []) {
      const judged = judge(rule, {
        packet: this.#packet,
        registers: new Registers(),
        table: this.#table,
        written: this.#written,
      });
      const { match, decisions = [] } = judged;
      leads.push(...(judged.leads ?? []));
      if (match.sure && !match.likely) continue;
      const outcomes = decisions.map(({ decision }) => this.#outcome(decision, rule));
      for (const outcome of outcomes) {
        for (const fate of outcome.possible) possible.add(fate);
        open ||= outcome.leaves;
        leads.push(...(outcome.walk?.leads ?? []));
      }
      if (likely === 'goes on' && match.likely !== false) {
        const chosen = match.likely ? outcomes[decisions.findIndex(it => it.likely)] : undefined;
        if (chosen) likely = chosen.likely;
        else if (outcomes.some(outcome => outcome.likely !== 'goes on')) likely = { fate: 'unknown', rule };
        if (chosen?.walk) chains.push(...chosen.walk.chains);
        untracked ??= (match.likely && judged.untracked ? rule : undefined) ?? chosen?.walk?.untracked;
      }
      const ends = match.sure && outcomes.length > 0 && outcomes.every(({ goesOn }) => !goesOn);
      if (ends) return walked(open);
    }
    return walked(true);

    function walked(isOpen: boolean): Walk {
      return {
        likely: typeof likely === 'string' ? undefined : likely,
        possible,
        open: isOpen,
        untracked,
        leads,
        chains,
      };
    }
  }

  #outcome(decision: Decision, rule: Rule): Outcome {
    switch (decision.does) {
      case 'continue':
        return { likely: 'goes on', possible: new Set(), goesOn: true, leaves: false };
      case 'return':
        return { likely: 'leaves', possible: new Set(), goesOn: false, leaves: true };
      case 'jump': {
        const walk = this.walk(decision.chain);
        const { likely = 'goes on', possible, open } = walk;
        return { likely, possible, goesOn: open, leaves: false, walk };
      }
      case 'goto': {
        const walk = this.walk(decision.chain);
        const { likely = 'leaves', possible, open } = walk;
        return { likely, possible, goesOn: false, leaves: open, walk };
      }
      case 'translate':
        return final({ fate: 'translate', rule, to: decision.to });
      default:
        return final({ fate: decision.does, rule });
    }
  }
}

function final(ruling: Ruling): Outcome {
  return { likely: ruling, possible: new Set([ruling.fate]), goesOn: false, leaves: false };
}

/** Whether a rule matches a packet, and what it does then. */
function judge({ expressions }: Pick<Rule, 'expressions'>, place: Place): Step {
  let match: Match = YES;
  let untracked = false;
  const leads: Bits[] = [];
  for (const [index, expression] of expressions.entries()) {
    const step = follow(expression, place);
    match = both(match, step.match);
    if (match.sure && !match.likely) break;
    untracked ||= step.untracked ?? false;
    leads.push(...(step.leads ?? []));
    if (!step.decisions) continue;
    const ends = step.decisions.filter(it => it.decision.does !== 'continue');
    const goesOn = step.decisions.filter(it => it.decision.does === 'continue');
    if (goesOn.length === 0) return { match, decisions: ends, untracked, leads };
    if (ends.length === 0) continue;
    const likely = goesOn.some(it => it.likely);
    const rest = judge({ expressions: expressions.slice(index + 1) }, place);
    untracked ||= likely && rest.match.likely === true && (rest.untracked ?? false);
    leads.push(...(rest.leads ?? []));
    return { match, decisions: [...ends, ...decisionsOf(rest, likely)], untracked, leads };
  }
  return { match, untracked, leads };
}

/** What the rest of a rule does, which may leave the packet to the next rule. `isLikely` says whether the rest is reached. */
function decisionsOf({ match, decisions = [] }: Step, isLikely: boolean): NonNullable<Step['decisions']> {
  const taken = match.sure && !match.likely ? [] : decisions;
  const left = { decision: { does: 'continue' }, likely: isLikely && match.likely === false } as const;
  if (taken.length === 0) return [{ ...left, likely: isLikely }];
  const likely = isLikely && match.likely === true;
  const weighed = taken.map(it => ({ ...it, likely: likely && it.likely }));
  return match.sure ? weighed : [...weighed, left];
}
