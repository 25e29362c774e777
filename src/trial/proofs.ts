import type { Session } from '../host/sessions.ts';
import { masked } from '../inet/address.ts';
import type { Family } from '../inet/family.ts';
import { includes, type PortRange } from '../inet/port.ts';
import { sameRule } from '../nftables/rule.ts';
import { byName, type ChainWithRules, type Ruleset } from '../nftables/ruleset.ts';
import type { Place } from '../ruleset/automaton.ts';
import type { Difference } from '../ruleset/describe.ts';
import { names } from '../ruleset/names.ts';
import { decompile, type Program, tokenPlaces } from '../ruleset/program.ts';

/** A service whose knocks can show that a trial lets its author in. It is plain data, so that it can be noted. */
export interface Proof {
  readonly service: string;
  /** The guarded ports. */
  readonly ports: readonly PortRange[];
  /** How long a knock opens it, in milliseconds. */
  readonly openFor: number;
  readonly singleUse: boolean;
  /** Its users, by the places at the ends of their sequences, and by those that their tokens lead to. */
  readonly users: ReadonlyMap<number, string | null>;
  /** The places where a knock from any client is proof. */
  readonly anybody: ReadonlySet<number>;
  /** Whether every knock from the author's address is proof, too. */
  readonly author: boolean;
}

export interface Author {
  readonly family: Family;
  /** The bits of the address that make up one client. */
  readonly key: Uint8Array;
}

/**
 * Finds the knocks that confirm a trial, from the table before, the one on trial, their differences, and the connection
 * that the trial was begun over.
 *
 * A sequence or secret that the table before did not know is proof from any client, because its user has it from the
 * author. A sequence that stays is proof, too, if its own service is all that changed: its knock then went through the
 * rules on trial. Otherwise a user who knows nothing of the trial may knock it, and come in by rules that stayed, while
 * the author is locked out by rules that changed. So it is proof only from the author's own address, and only if it
 * opens the service that guards the port of the author's connection. If no service guards that port, any service
 * counts, unless the port is closed to all.
 */
export function proofsOf(
  before: Ruleset | undefined,
  wanted: Ruleset,
  changes: readonly Difference[],
  login: Session | undefined,
): { readonly author: Author | null; readonly proofs: readonly Proof[] } {
  const program = decompile(wanted);
  const known = new Set(before ? ends(decompile(before)).map(({ place }) => place) : []);
  const users = new Map<string, Map<number, string | null>>();
  for (const { service, user, place } of ends(program))
    users.set(service, (users.get(service) ?? new Map()).set(place, user));
  const isHis = (range: PortRange) =>
    login !== undefined && includes(range, { protocol: 'tcp', port: login.port });
  const cameTo = [...program.services].find(([, { ports }]) => ports.some(isHis))?.[0];
  const isOpen = wanted.chains.every(({ hook }) => hook?.policy !== 'drop') || program.public.some(isHis);
  const isByHim = (service: string) =>
    login !== undefined && (cameTo === undefined ? isOpen : cameTo === service);
  const proofs = [...program.services].flatMap(([service, { ports, openFor, singleUse }]): Proof[] => {
    const own = users.get(service) ?? new Map<number, string | null>();
    const all = before !== undefined && isAllThatChanged(service, before, wanted, changes);
    const anybody = new Set([...own.keys()].filter(place => all || !known.has(place as Place)));
    const author = isByHim(service);
    if (openFor === undefined || !(author || anybody.size > 0)) return [];
    return [{ service, ports, openFor, singleUse, users: own, anybody, author }];
  });
  const author = login
    ? {
        family: login.family,
        key: Uint8Array.from(masked(login.peer, program.prefix[login.family])),
      }
    : null;
  return { author, proofs };
}

/** The places where sequences end, and those that tokens lead to. */
function ends(program: Program) {
  return [
    ...[...program.services].flatMap(([service, { sequences }]) =>
      sequences.flatMap(({ user, places }) => {
        const place: Place | undefined = places.at(-1);
        return place === undefined ? [] : [{ service, user, place }];
      }),
    ),
    ...[...tokenPlaces(program)].map(([place, { service, user }]) => ({ service, user, place })),
  ];
}

/**
 * Whether only settings of one service changed, and neither its sequences nor its secrets. A change by hand has no key in the
 * configuration, so the chains that all packets go through must be the same, too.
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

/** Compares without comments, since that of the first rule differs for each configuration. */
function sameRules({ rules }: ChainWithRules, other: ChainWithRules | undefined): boolean {
  return (
    rules.length === other?.rules.length &&
    rules.every(({ expressions }, index) =>
      sameRule({ expressions }, { expressions: other.rules[index]?.expressions ?? [] }),
    )
  );
}
