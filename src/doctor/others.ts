import type { Config } from '../config/types.ts';
import type { Visit } from '../firewalls/journey.ts';
import type { Unseen } from '../firewalls/unseen.ts';
import type { Family } from '../inet/family.ts';
import { count } from '../ruleset/describe.ts';
import { shellWord } from '../terminal/shell.ts';
import type { ClientIn } from './facts.ts';
import { type Checked, type Finding, list, type Severity } from './finding.ts';
import { keptOut } from './kept-out.ts';
import { acceptIn, forGood, makerOf } from './mend.ts';
import {
  addressText,
  type Crossing,
  chainName,
  type Doorman,
  type Guarded,
  guardedRanges,
  guardedText,
  isBefore,
  type Passage,
  type Surroundings,
} from './passage.ts';
import { redirectedAround } from './redirects.ts';

/** Our sight of one guarded port in one family. */
interface Seen<V extends Visit = Visit> {
  readonly guarded: Guarded;
  readonly family: Family;
  readonly visit: V;
}

/**
 * Checks that other programs' tables let clients in to the guarded ports. They may drop what our table accepts: `accept` ends
 * the way through one base chain, `drop` the whole way.
 */
export function checkOthers(
  config: Config,
  around: Surroundings,
  crossings: readonly Crossing[],
  clients: readonly ClientIn[],
  path: string,
): Checked {
  const doors: Seen<Passage['visits'][number]>[] = [];
  const forwarded: Seen[] = [];
  const mayForward: Seen[] = [];
  const untracked: Seen[] = [];
  const proxied: Seen[] = [];
  for (const { guarded, family, passage, answers } of crossings) {
    const seen = <V extends Visit>(visit: V) => ({ guarded, family, visit });
    if (config.hook === 'input') {
      const { translation, mayTranslate } = passage;
      if (translation && isBefore(config, translation)) {
        forwarded.push(seen(translation));
        continue;
      }
      if (mayTranslate && isBefore(config, mayTranslate)) mayForward.push(seen(mayTranslate));
      const proxies = passage.visits.filter(visit => visit.possible.has('proxy') && isBefore(config, visit));
      proxied.push(...proxies.map(seen));
    }
    doors.push(...passage.visits.map(seen));
    untracked.push(...[...passage.visits, ...answers].filter(visit => visit.untracked).map(seen));
  }
  const through = (doorman: Doorman) => doors.filter(({ visit }) => visit.doorman === doorman);
  return {
    name: 'other tables',
    fine: fine(config, around),
    findings: [
      ...groups(forwarded).map(group => goesAround(group, path)),
      ...groups(mayForward).map(group => mayGoAround(group, path)),
      ...redirectedAround(config, around, path),
      ...groups(through('out')).map(group => keepsOut(group, around.families)),
      ...keptOut(clients, around, crossings),
      ...groups(proxied).map(answersFirst),
      ...groups(untracked).map(takesOutOfTracking),
      ...groups(through('some')).map(keepsSomeOut),
      ...groups(through('unknown')).map(cannotTell),
      ...notLookedAt(around.unseen),
    ],
  };
}

function fine(config: Config, { tables }: Surroundings): string {
  if (tables.length === 0) return 'there are none';
  const others = `${count(tables.length, 'table')} of others`;
  return guardedRanges(config).length > 0
    ? `${others} let clients in to the guarded ports`
    : `${others}, and no guarded ports`;
}

/** Groups that one command mends: those of one chain, or of all chains that ufw made. */
function groups<V extends Visit>(seen: readonly Seen<V>[]): (readonly [Seen<V>, ...Seen<V>[]])[] {
  const found = new Map<string, [Seen<V>, ...Seen<V>[]]>();
  for (const it of seen) {
    const key = makerOf(it.visit).is === 'ufw' ? 'ufw' : chainName(it.visit);
    const group = found.get(key);
    if (group) group.push(it);
    else found.set(key, [it]);
  }
  return [...found.values()];
}

type Group<V extends Visit = Visit> = readonly [Seen<V>, ...Seen<V>[]];

const chains = (group: Group) => list([...new Set(group.map(({ visit }) => chainName(visit)))]);
const ports = (group: Group) => list([...new Set(group.map(({ guarded }) => guardedText(guarded)))]);
const ranges = (group: Group) => group.map(({ guarded }) => guarded.range);

/** `table inet filter, chain input drops`, `table ip filter, chain INPUT and table ip6 filter, chain INPUT drop` */
function doing(group: Group, verb: string): string {
  const several = new Set(group.map(({ visit }) => chainName(visit))).size > 1;
  return `${chains(group)} ${several ? verb : `${verb}s`} ${ports(group)}`;
}

const NAMES = { ipv4: 'IPv4', ipv6: 'IPv6' } as const;

function keepsOut(group: Group, families: readonly Family[]): Finding {
  const out = (guarded: Guarded) =>
    new Set(group.filter(it => it.guarded === guarded).map(({ family }) => family));
  const everywhere = group.some(({ guarded }) => out(guarded).size === families.length);
  const severity: Severity = everywhere ? 'broken' : 'risk';
  const [{ visit, family }] = group;
  return {
    id: 'clients-dropped',
    severity,
    what: `${doing(group, visit.ruling.fate)}${everywhere ? '' : ` over ${NAMES[family]}`}`,
    why: `a client that knocks correctly does not get in: another table may drop what ours accepts${forGood(visit)}`,
    mend: acceptIn(visit, ranges(group)),
  };
}

function keepsSomeOut(group: Group): Finding {
  const [{ visit }] = group;
  return {
    id: 'clients-restricted',
    severity: 'note',
    what: `${doing(group, visit.ruling.fate)} for all but some clients`,
    why: `the rule has conditions on more than the port, such as the source address: a client that knocks from elsewhere does not get in${forGood(visit)}`,
    mend: acceptIn(visit, ranges(group)),
  };
}

function cannotTell(group: Group): Finding {
  const [{ visit }] = group;
  const { table, chain } = visit;
  return {
    id: 'clients-unknown',
    severity: 'note',
    what: `whether ${chains(group)} lets clients in to ${ports(group)} cannot be told`,
    why: 'it depends on what rules write while packets come (sets, lists, marks), or on rules that doctor does not understand; if it drops, a client that knocks correctly does not get in; "knockd-nft doctor --trace ADDRESS" watches a real attempt',
    mend: `nft list chain ${table.family} ${shellWord(table.name)} ${shellWord(chain.name)}`,
  };
}

function goesAround(group: Group, path: string): Finding {
  const [{ visit }] = group;
  return {
    id: 'forwarded-past-guard',
    severity: 'broken',
    what: `${doing(group, 'forward')} to ${addressText(visit)}, past the guard`,
    why: 'forwarded packets never reach the input chain: every client gets in without a knock',
    mend: `"hook": "prerouting"  in ${path}`,
  };
}

function mayGoAround(group: Group, path: string): Finding {
  return {
    id: 'forwarded-past-guard',
    severity: 'broken',
    what: `${chains(group)} may forward ${ports(group)}, past the guard`,
    why: 'forwarded packets never reach the input chain: some clients get in without a knock, or each sometimes does',
    mend: `"hook": "prerouting"  in ${path}`,
  };
}

function notLookedAt(unseen: readonly Unseen[]): Finding[] {
  if (unseen.length === 0) return [];
  return [
    {
      id: 'not-looked-at',
      severity: 'note',
      what: `doctor does not look into ${list(unseen.map(({ what }) => what))}`,
      why: 'packets meet them before or after the chains that doctor looks at: it does not report what they drop or send elsewhere, knocks too',
      mend: unseen.map(({ show }) => show).join(' && '),
    },
  ];
}

function answersFirst(group: Group): Finding {
  const [{ visit }] = group;
  return {
    id: 'proxied-first',
    severity: 'broken',
    what: `${doing(group, 'answer')} by SYNPROXY, before the guard`,
    why: `its own SYN comes over loopback, which is not guarded, so everybody gets in; a SYNPROXY in a chain after ours, at priority filter, does no harm${forGood(visit)}`,
    mend: acceptIn(visit, ranges(group)),
  };
}

function takesOutOfTracking(group: Group): Finding {
  const [{ visit }] = group;
  return {
    id: 'untracked',
    severity: 'broken',
    what: `${doing(group, 'exempt')} from connection tracking`,
    why: `tracking does not know running connections: forwarded ones are cut when the opening of their client ends${forGood(visit)}`,
    mend: acceptIn(visit, ranges(group), visit.chain.hook.name === 'output' ? 'sport' : 'dport'),
  };
}
