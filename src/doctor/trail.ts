import type { Config, Service } from '../config/types.ts';
import { formatPortRange, includes } from '../inet/port.ts';
import { IPPROTO } from '../inet/protocol.ts';
import type { Trace, TracedPacket } from '../nftables/trace.ts';
import { serviceOfOpen } from '../ruleset/names.ts';
import { list } from './finding.ts';
import { knocksOf } from './knocks.ts';
import { guardedRanges, guardedText } from './passage.ts';

/** A rule, or an end of a chain, that a packet reached. */
export interface Met {
  /** `inet filter` */
  readonly table: string;
  readonly chain: string;
  /** Whether the table is ours. */
  readonly ours: boolean;
  /** The rule as nft prints it; `policy` for the chain's policy. */
  readonly rule: string;
  /** `accept`, `jump knock`, `reject`. */
  readonly verdict: string;
}

/** The meaning of a traced packet to us. */
export type Meaning =
  /** `services.ssh.sequence: knock 2`: its port is a secret. */
  | { readonly is: 'knock'; readonly where: string; readonly port: string }
  /** What came to the port of tokens; the trace does not show its data. */
  | { readonly is: 'token'; readonly to: string }
  | { readonly is: 'visit' | 'answer'; readonly service: Service; readonly to: string }
  | { readonly is: 'other'; readonly to: string };

/** Everything that a packet met, in order. */
export interface Trail {
  readonly meaning: Meaning;
  /** The index of the interface. */
  readonly input: number | undefined;
  readonly met: readonly Met[];
}

/** The meaning of a packet in this configuration. */
export function meaningOf(packet: TracedPacket, config: Config): Meaning {
  const protocol = packet.protocol === IPPROTO.tcp ? 'tcp' : 'udp';
  const { source = 0, destination = 0 } = packet.ports ?? {};
  const guarded = (port: number) =>
    guardedRanges(config).find(({ range }) => includes(range, { protocol, port }));
  const one = (port: number) => ({ protocol, first: port, last: port }) as const;
  if (packet.input === undefined) {
    const from = guarded(source);
    const to = `the answer of ${from ? guardedText({ ...from, range: one(source) }) : formatPortRange(one(source))}`;
    return from ? { is: 'answer', service: from.service, to } : { is: 'other', to };
  }
  const visited = guarded(destination);
  if (visited)
    return {
      is: 'visit',
      service: visited.service,
      to: guardedText({ ...visited, range: one(destination) }),
    };
  const knock = knocksOf(config).find(it => it.port === destination && it.protocol === protocol);
  const port = formatPortRange(one(destination));
  if (knock) return { is: 'knock', where: knock.where, port };
  const { token } = config;
  return token.port.port === destination && token.port.protocol === protocol && hasTokens(config)
    ? { is: 'token', to: `${port}, the port of tokens` }
    : { is: 'other', to: port };
}

function hasTokens({ services }: Config): boolean {
  return services.some(({ tokens }) => tokens.length > 0);
}

/** The verdict of a trace, for {@link Met}. */
export function verdictOf({ verdict, target }: Trace, rejects: boolean): string {
  if (verdict === 'drop' && rejects) return 'reject';
  return target === undefined ? verdict : `${verdict} ${target}`;
}

const STOPS: ReadonlySet<string> = new Set(['drop', 'reject', 'queue', 'stolen']);

/** The rule or policy that stopped a packet; undefined if none in nf_tables did. */
export function stopOf({ met }: Trail): Met | undefined {
  const last = met.at(-1);
  return last && STOPS.has(last.verdict) ? last : undefined;
}

/** The result: whether the client got in, and if not, the reason. */
interface Conclusion {
  readonly in: boolean;
  /** It never contains a knock's port. */
  readonly sentence: string;
}

/**
 * A client is in if a packet to a guarded port and its answer went all the way, or if it opened one of `events`, the
 * services without ports.
 */
export function conclude(
  address: string,
  trails: readonly Trail[],
  events: ReadonlySet<string> = new Set(),
): Conclusion {
  const visits = trails.filter(({ meaning }) => meaning.is === 'visit');
  const answer = trails.findLast(it => it.meaning.is === 'answer' && stopOf(it));
  const through = visits.find(it => !stopOf(it));
  const out = (sentence: string): Conclusion => ({ in: false, sentence });
  if (through?.meaning.is === 'visit') {
    const stop = answer && stopOf(answer);
    const to = through.meaning.to;
    if (stop)
      return out(
        `${address} came in to ${to}, but its answer did not come out: ${place(stop)} ${doing(stop)}`,
      );
    // TCP's first answer shows that a program listens
    const silent = /\/tcp\b/.test(to) && !trails.some(({ meaning }) => meaning.is === 'answer');
    return {
      in: true,
      sentence: `${address} got in to ${to}: no table kept it out${silent ? ', but no program answered: does one listen there?' : ''}`,
    };
  }
  const last = visits.at(-1);
  const stop = last && stopOf(last);
  if (last?.meaning.is === 'visit' && stop) {
    if (!stop.ours)
      return out(`${address} was kept out of ${last.meaning.to}: ${place(stop)} ${doing(stop)}`);
    return out(
      `${address} was kept out of ${last.meaning.to} by its guard, since ${whyClosed(last.meaning.service, trails).join(', and ')}`,
    );
  }
  const told = trails.flatMap(opened).find(service => events.has(service));
  if (told !== undefined)
    return { in: true, sentence: `${address} opened ${told}, which has no ports: it is only an event` };
  const knocks = trails.filter(({ meaning }) => meaning.is === 'knock');
  if (knocks.length > 0)
    return out(`${address} knocked, and then sent nothing to a guarded port: ${lostText(knocks)}`);
  if (trails.some(({ meaning }) => meaning.is === 'token'))
    return out(`${address} sent a token, and then nothing to a guarded port: ${tokensText(trails)}`);
  if (trails.length > 0) return out(`${address} neither knocked nor sent anything to a guarded port`);
  return out(
    `no new packet of ${address} came to this host's nf_tables: it went elsewhere, or was stopped before (on the way, by XDP, in a netdev table)`,
  );
}

function place({ table, chain }: Met): string {
  return `table ${table}, chain ${chain}`;
}

/** `drops it: tcp dport 22 drop` */
function doing({ rule, verdict }: Met): string {
  if (verdict === 'queue' || verdict === 'stolen') return `hands it to another program: ${rule}`;
  return rule === 'policy' ? `${verdict}s it by its policy` : `${verdict}s it: ${rule}`;
}

/** The services that a knock or a token opened. */
function opened({ met }: Trail): readonly string[] {
  return met.flatMap(({ ours, verdict }) => {
    const service = ours ? serviceOfOpen(verdict.replace(/^(goto|jump) /, '')) : undefined;
    return service === undefined ? [] : [service];
  });
}

/** By neither of the ways that open a service. */
function whyClosed(service: Service, trails: readonly Trail[]): readonly string[] {
  const { sequences, tokens } = service;
  return [
    ...(tokens.length > 0 ? [`no token opened it: ${tokensText(trails)}`] : []),
    ...(sequences.length > 0 ? [`no sequence was complete: ${knocksText(service, trails)}`] : []),
  ];
}

/** The fates of the tokens that came. */
function tokensText(trails: readonly Trail[]): string {
  const fates = trails.flatMap(trail => (trail.meaning.is === 'token' ? [fateText(trail)] : []));
  return fates.length === 0 ? 'none reached our table' : [...new Set(fates)].join('; ');
}

/** Judges by the rules of our chain `token`: the first one opens, or says nothing; then come those that count. */
function fateText(trail: Trail): string {
  const stop = stopOf(trail);
  if (stop && !reached(trail)) return `${place(stop)} ${doing(stop)}, before it reaches our table`;
  if (opened(trail).length > 0) return 'one opened a service';
  const ours = trail.met.filter(({ ours }) => ours);
  const left = ours.find(({ chain, verdict }) => chain === 'token' && verdict === 'return');
  if (left?.rule.includes('wrong_tokens'))
    return 'one came that is not in the kernel: it is of another minute (are both clocks right?), service, realm or secret';
  if (left) return `a packet came that is no token: ${left.rule}`;
  return 'one came that was used before';
}

/** The knocks that reached our chain, in order, of the sequence with most of them. */
function knocksText({ name, sequences }: Service, trails: readonly Trail[]): string {
  const seen = trails.flatMap(trail =>
    trail.meaning.is === 'knock' && reached(trail) ? [trail.meaning.port] : [],
  );
  const stopped = trails.filter(it => it.meaning.is === 'knock' && stopOf(it) && !reached(it));
  const numbered = sequences.map(({ user, knocks }) => {
    const ports = knocks.map(({ port, protocol }) => `${port}/${protocol}`);
    const numbers = seen.map(port => ports.indexOf(port) + 1).filter(number => number > 0);
    return { user, numbers: numbers.filter((it, index) => it !== numbers[index - 1]), of: knocks.length };
  });
  const [best] = numbered.toSorted((a, b) => b.numbers.length - a.numbers.length);
  const other = stopped.length > 0 ? `; ${lostText(stopped)}` : '';
  if (!best || best.numbers.length === 0) return `none of its knocks reached our table${other}`;
  const where = `services.${name}.${best.user === null ? 'sequence' : `sequences.${best.user}`}`;
  const inOrder = best.numbers.join() === Array.from({ length: best.of }, (_, index) => index + 1).join();
  const wrong = inOrder ? 'too slow, or with others in between' : 'not all, or not in order';
  return `of ${where} came knock ${list(best.numbers.map(String), 40)} of ${best.of}, ${wrong}${other}`;
}

/** Whether our chain saw the packet. */
function reached({ met }: Trail): boolean {
  return met.some(({ ours }) => ours);
}

function lostText(knocks: readonly Trail[]): string {
  const lost = knocks.flatMap(trail => {
    const stop = stopOf(trail);
    return trail.meaning.is === 'knock' && stop && !reached(trail)
      ? [`${place(stop)} ${doing(stop)}, which is ${trail.meaning.where}, before it reaches our table`]
      : [];
  });
  return lost.length > 0 ? [...new Set(lost)].join('; ') : 'all that came reached our table';
}
