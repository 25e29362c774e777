import type { Family, PortRange } from '../config/types.ts';
import type { Session } from '../host/sessions.ts';
import { sameRule } from '../nftables/rule.ts';
import { byName, type ChainWithRules, type Ruleset } from '../nftables/ruleset.ts';
import type { Place } from '../ruleset/automaton.ts';
import type { Difference } from '../ruleset/describe.ts';
import { masked } from '../ruleset/match.ts';
import { names } from '../ruleset/names.ts';
import {
  compiledSequences,
  openingTime,
  publicPorts,
  readPrefix,
  servicePorts,
  tokenPlaces,
  usesUp,
} from '../ruleset/program.ts';

/** A service whose knocks can show that what is tried lets its author in. Plain data: it is noted. */
export interface Proof {
  readonly service: string;
  /** Guarded ports. */
  readonly ports: readonly PortRange[];
  /** For how long a knock opens it, in milliseconds. */
  readonly openFor: number;
  readonly singleUse: boolean;
  /** Its sequences, by the places at their ends, and those to whom tokens lead. */
  readonly users: ReadonlyMap<number, string | null>;
  /** Places at the ends of those that show it whoever knocks. */
  readonly anybody: ReadonlySet<number>;
  /** Whether any sequence of it does where the author's address knocks. */
  readonly author: boolean;
}

export interface Author {
  readonly family: Family;
  /** As much of the address as is one client. */
  readonly key: Uint8Array;
}

/**
 * What confirms a trial, given the table before, the one that is tried, what the two differ in, and the connection that it is
 * tried over.
 *
 * A sequence, or a secret, that the table before did not know shows it whoever has it: the author gave it to him. A sequence that stays
 * does so where its own service is all that changed, for then the knock was one of what is tried. Else somebody may knock it who
 * knows of nothing, in by what stayed, while the author is locked out by what did not: that shows nothing, unless it comes from
 * the author's own address, and opens the service that guards the port by which he is in. Where none does, any; but none where
 * that port is closed to all.
 */
export function proofsOf(
  before: Ruleset | undefined,
  wanted: Ruleset,
  changes: readonly Difference[],
  login: Session | undefined,
): { readonly author: Author | null; readonly proofs: readonly Proof[] } {
  const ends = (ruleset: Ruleset) => [
    ...compiledSequences(ruleset).flatMap(({ service, user, places }) => {
      const place: Place | undefined = places.at(-1);
      return place === undefined ? [] : [{ service, user, place }];
    }),
    ...[...tokenPlaces(ruleset)].map(([place, { service, user }]) => ({ service, user, place })),
  ];
  const known = new Set(before ? ends(before).map(({ place }) => place) : []);
  const users = new Map<string, Map<number, string | null>>();
  for (const { service, user, place } of ends(wanted))
    users.set(service, (users.get(service) ?? new Map()).set(place, user));
  const chains = byName(wanted.chains);
  const ports = servicePorts(wanted);
  const isHis = ({ protocol, first, last }: PortRange) =>
    login !== undefined && protocol === 'tcp' && first <= login.port && login.port <= last;
  const cameTo = [...ports].find(([, ranges]) => ranges.some(isHis))?.[0];
  const isOpen =
    wanted.chains.every(({ hook }) => hook?.policy !== 'drop') || publicPorts(wanted).some(isHis);
  const isByHim = (service: string) =>
    login !== undefined && (cameTo === undefined ? isOpen : cameTo === service);
  const proofs = [...ports].flatMap(([service, ranges]): Proof[] => {
    const openFor = openingTime(chains.get(names.open(service)), service);
    const own = users.get(service) ?? new Map<number, string | null>();
    const all = before !== undefined && isAllThatChanged(service, before, wanted, changes);
    const anybody = new Set([...own.keys()].filter(place => all || !known.has(place as Place)));
    const author = isByHim(service);
    if (openFor === undefined || !(author || anybody.size > 0)) return [];
    const singleUse = usesUp(chains.get(names.guard(service)));
    return [{ service, ports: ranges, openFor, singleUse, users: own, anybody, author }];
  });
  const author = login
    ? {
        family: login.family,
        key: Uint8Array.from(masked(login.peer, readPrefix(wanted)[login.family])),
      }
    : null;
  return { author, proofs };
}

/**
 * Whether only settings of one service changed, and neither its sequences nor its secrets. What somebody changed by hand has no key that would tell:
 * so the chains that all packets go through must be the same, too.
 */
function isAllThatChanged(
  service: string,
  before: Ruleset,
  wanted: Ruleset,
  changes: readonly Difference[],
): boolean {
  const own = `services.${service}.`;
  const chains = byName(wanted.chains);
  const mayChange = (chain: string) =>
    chain === names.guard(service) || chain === names.open(service) || /^(start|wait|closed)_/.test(chain);
  return (
    changes.length > 0 &&
    changes.every(({ key }) => key.startsWith(own) && !/^(sequence|tokens)/.test(key.slice(own.length))) &&
    before.chains.every(chain => mayChange(chain.name) || sameRules(chain, chains.get(chain.name)))
  );
}

/** But for comments: that of the first rule is another for each configuration. */
function sameRules({ rules }: ChainWithRules, other: ChainWithRules | undefined): boolean {
  return (
    rules.length === other?.rules.length &&
    rules.every(({ expressions }, index) =>
      sameRule({ expressions }, { expressions: other.rules[index]?.expressions ?? [] }),
    )
  );
}
