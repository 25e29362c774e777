/**
 * The kernel's part of the data plane as an interpreter. It runs packets through the expressions of a ruleset, with real bytes
 * in its registers, and with its sets on a clock that the test moves. After nft_do_chain (net/netfilter/nf_tables_core.c) and
 * the files of the expressions.
 *
 * It is simpler than the kernel in one thing: an expired element frees its room at once, not at the next garbage collection.
 */

import type { Family } from '../../src/inet/family.ts';
import { keySize } from '../../src/nftables/datatype.ts';
import type { Expression } from '../../src/nftables/expression.ts';
import { type Register, VERDICT } from '../../src/nftables/register.ts';
import type { ChainWithRules, Element, Ruleset, SetWithElements } from '../../src/nftables/ruleset.ts';
import type { Data, Verdict } from '../../src/nftables/verdict.ts';

export const TCP = { fin: 0x01, syn: 0x02, rst: 0x04, psh: 0x08, ack: 0x10 } as const;

/** A packet that comes in, and what the kernel knows of it. */
export interface Packet {
  readonly family: Family;
  /** 4 or 16 bytes */
  readonly saddr: Buffer;
  readonly sport: number;
  readonly protocol: 'tcp' | 'udp' | 'icmp' | 'igmp' | 'ipv6-icmp';
  readonly dport: number;
  /** The port that it was sent to, if DNAT gives it `dport`. */
  readonly sentTo?: number;
  readonly tcpFlags: number;
  readonly ctState: 'new' | 'established' | 'related' | 'invalid';
  /** Whether the first packet of its flow was let in. */
  readonly ctStatusConfirmed: boolean;
  /** Whether the handshake of its flow is over. */
  readonly ctStatusAssured: boolean;
  /** Whether this host sent the flow's first packet. */
  readonly ctReply: boolean;
  /** Whether there is a socket for the packet whose peer is the packet's source. */
  readonly hasPeer: boolean;
  /** The type of the destination address for this host; `local` is its own. */
  readonly addressType: 'local' | 'unicast' | 'broadcast';
  /** Whether it is for this host by a routing table that the type does not know. */
  readonly isDelivered?: boolean;
  /** Whether there is any socket for the packet. */
  readonly listener: boolean;
  readonly iif: string;
  readonly mark: number;
}

/** The fate of a packet. `reset` and `unreachable` are drops with an answer. */
export interface Outcome {
  readonly verdict: 'accept' | 'drop' | 'reset' | 'unreachable' | 'prohibited';
  readonly mark: number;
  readonly logs: readonly { readonly prefix: string; readonly group: number; readonly mark: number }[];
}

/** A token bucket as in nft_limit. Tokens are nanoseconds. */
interface Bucket {
  tokens: number;
  last: number;
}

interface Stored {
  readonly key: Buffer;
  readonly data: Data | undefined;
  readonly comment: string | undefined;
  readonly timeout: number | undefined;
  readonly bucket: Bucket | undefined;
  /** In milliseconds of the machine's clock. */
  until: number | undefined;
}

const PROTOCOLS = { icmp: 1, igmp: 2, tcp: 6, udp: 17, 'ipv6-icmp': 58 } as const;
const CT_STATE = { invalid: 1, established: 2, related: 4, new: 8 } as const;
const CT_STATUS = { assured: 4, confirmed: 8, dnat: 32 } as const;
const NOBODY = 65534;
const ADDRESS_TYPES = { unicast: 1, local: 2, broadcast: 3 } as const;
const MS = 1e6;

const ANSWERS = {
  'tcp reset': 'reset',
  'port unreachable': 'unreachable',
  'admin prohibited': 'prohibited',
} as const;

/** The rule ends, and the next one begins. */
const BREAK = 'break';
type Step =
  | Verdict
  | { readonly code: 'reject'; readonly verdict: Outcome['verdict'] }
  | typeof BREAK
  | undefined;
type Final = { readonly code: 'accept' | 'drop' } | Extract<Step, { code: 'reject' }>;

/** One packet on its way. */
interface Flight {
  readonly packet: Packet;
  readonly network: Buffer;
  /** At the hook where the packet is. */
  transport: Buffer;
  isTranslated: boolean;
  readonly registers: Buffer;
  readonly logs: Outcome['logs'][number][];
  mark: number;
}

export class Machine {
  /** The clock, in milliseconds. */
  now = 0;
  readonly counters = new Map<string, number>();
  #ruleset: Ruleset;
  #chains = new Map<string, ChainWithRules>();
  #sets = new Map<string, { readonly set: SetWithElements; readonly elements: Map<string, Stored> }>();
  readonly #limits = new Map<Expression, Bucket>();

  constructor(ruleset: Ruleset) {
    this.#ruleset = ruleset;
    this.swap(ruleset);
  }

  /** Loads another program. The state of sets and counters with the same names stays. */
  swap(ruleset: Ruleset): void {
    const before = this.#sets;
    this.#ruleset = ruleset;
    this.#chains = new Map(ruleset.chains.map(chain => [chain.name, chain]));
    this.#sets = new Map(
      ruleset.sets.map(set => [
        set.name,
        { set, elements: (set.timeout && before.get(set.name)?.elements) || new Map<string, Stored>() },
      ]),
    );
    for (const set of ruleset.sets) for (const element of set.elements) this.put(set.name, element);
    const counters = new Set(ruleset.counters.map(({ name }) => name));
    for (const name of this.counters.keys()) if (!counters.has(name)) this.counters.delete(name);
    for (const name of counters) this.counters.set(name, this.counters.get(name) ?? 0);
  }

  /** Does what `nft add element` does. */
  put(name: string, { key, data, comment, timeout, expires }: Element): void {
    const left = expires ?? timeout;
    this.#set(name).elements.set(key.toString('hex'), {
      key,
      data,
      comment,
      timeout,
      bucket: undefined,
      until: left === undefined ? undefined : this.now + left,
    });
  }

  /** The elements that have not expired. */
  elements(name: string): Element[] {
    const { elements } = this.#set(name);
    return [...elements.values()]
      .filter(stored => !this.#isOver(stored))
      .map(({ key, data, comment, timeout, until }) => ({
        key,
        ...(data !== undefined && { data }),
        ...(comment !== undefined && { comment }),
        ...(timeout !== undefined && { timeout }),
        ...(until !== undefined && { expires: until - this.now }),
      }));
  }

  /** The table with its state, as if read from the kernel. */
  snapshot(): Ruleset {
    const { counters, sets, ...rest } = this.#ruleset;
    return {
      ...rest,
      counters: counters.map(counter => ({ ...counter, packets: this.counters.get(counter.name) ?? 0 })),
      sets: sets.map(set => (set.timeout ? { ...set, elements: this.elements(set.name) } : set)),
    };
  }

  /** Takes a packet that comes in through prerouting, and then, if it is for this host, through input. */
  receive(packet: Packet): Outcome {
    const flight: Flight = {
      packet,
      network: networkHeader(packet),
      transport: transportHeader(packet),
      isTranslated: false,
      registers: Buffer.alloc(64),
      logs: [],
      mark: packet.mark,
    };
    const isRouted = packet.addressType === 'unicast' && !packet.isDelivered;
    for (const hook of isRouted ? ['prerouting'] : ['prerouting', 'input']) {
      // the chain at prerouting comes before DNAT
      const { dport, sentTo = dport } = packet;
      flight.isTranslated = hook !== 'prerouting' && sentTo !== dport;
      flight.transport = transportHeader({ ...packet, dport: hook === 'prerouting' ? sentTo : dport });
      const chains = [...this.#chains.values()]
        .filter(chain => chain.hook?.name === hook)
        .sort((a, b) => (a.hook?.priority ?? 0) - (b.hook?.priority ?? 0));
      for (const base of chains) {
        const final = this.#traverse(base, flight);
        if (final.code === 'reject') return this.#outcome(final.verdict, flight);
        if (final.code === 'drop') return this.#outcome('drop', flight);
      }
    }
    return this.#outcome('accept', flight);
  }

  #outcome(verdict: Outcome['verdict'], { mark, logs }: Flight): Outcome {
    return { verdict, mark, logs };
  }

  #traverse(base: ChainWithRules, flight: Flight): Final {
    const stack: { readonly chain: ChainWithRules; readonly next: number }[] = [];
    let chain = base;
    let next = 0;
    for (let steps = 0; steps < 10_000; steps++) {
      const rule = chain.rules[next++];
      const step = rule ? this.#rule(rule.expressions, flight) : ({ code: 'return' } as const);
      if (step === undefined || step.code === 'continue') continue;
      if (step.code === 'accept' || step.code === 'drop') return { code: step.code };
      if (step.code === 'reject') return step;
      if (!('chain' in step)) {
        const caller = stack.pop();
        if (!caller) return { code: base.hook?.policy ?? 'accept' };
        ({ chain, next } = caller);
        continue;
      }
      if (step.code === 'jump') stack.push({ chain, next });
      if (stack.length > 16) throw new Error('the kernel allows 16 jumps');
      const target = this.#chains.get(step.chain);
      if (!target) throw new Error(`no chain ${step.chain}`);
      chain = target;
      next = 0;
    }
    throw new Error('a ruleset that never ends');
  }

  #rule(expressions: readonly Expression[], flight: Flight): Exclude<Step, typeof BREAK> {
    for (const expression of expressions) {
      const step = this.#evaluate(expression, flight);
      if (step === BREAK) return undefined;
      // a map may say `continue`, and then the rest of the rule counts
      if (step !== undefined && step.code !== 'continue') return step;
    }
    return undefined;
  }

  #evaluate(expression: Expression, flight: Flight): Step {
    const { packet, registers } = flight;
    switch (expression.kind) {
      case 'bitwise': {
        const value = load(registers, expression.sreg, expression.mask.length);
        store(
          registers,
          expression.dreg,
          value.map((byte, index) => byte & (expression.mask[index] ?? 0)),
        );
        return undefined;
      }
      case 'cmp': {
        const { value, op, sreg } = expression;
        const order = Buffer.compare(load(registers, sreg, value.length), value);
        const holds = {
          eq: order === 0,
          neq: order !== 0,
          lt: order < 0,
          lte: order <= 0,
          gt: order > 0,
          gte: order >= 0,
        };
        return holds[op] ? undefined : BREAK;
      }
      case 'counter':
        return undefined;
      case 'ct': {
        if (expression.key !== 'state' && packet.ctState === 'invalid') return BREAK; // no connection to ask
        const value = ctOf(expression.key, flight);
        store(registers, expression.dreg, value);
        return undefined;
      }
      case 'dynset':
        return this.#dynset(expression, flight);
      case 'fib':
        store(
          registers,
          expression.dreg,
          host32(ADDRESS_TYPES[expression.result === 'daddr type' ? packet.addressType : 'unicast']),
        );
        return undefined;
      case 'immediate':
        if ('verdict' in expression) return expression.verdict;
        store(registers, expression.dreg, expression.value);
        return undefined;
      case 'limit': {
        const bucket = this.#limits.get(expression) ?? newBucket(expression, this.now);
        this.#limits.set(expression, bucket);
        return take(bucket, expression, this.now) ? undefined : BREAK;
      }
      case 'log':
        flight.logs.push({ prefix: expression.prefix, group: expression.group, mark: flight.mark });
        return undefined;
      case 'lookup': {
        const { set, elements } = this.#set(expression.set);
        const key = load(registers, expression.sreg, keySize(set.types));
        const found = elements.get(key.toString('hex'));
        const inside = set.interval ? isInRange(set, key) : found !== undefined && !this.#isOver(found);
        if (inside === (expression.inverted === true)) return BREAK;
        if (expression.dreg === undefined) return undefined;
        const data = found?.data;
        if (data === undefined) throw new Error(`${expression.set} is no map`);
        if (expression.dreg === VERDICT) {
          if (Buffer.isBuffer(data)) throw new Error(`${expression.set} has no verdicts`);
          return data;
        }
        if (!Buffer.isBuffer(data)) throw new Error(`${expression.set} has verdicts`);
        store(registers, expression.dreg, data);
        return undefined;
      }
      case 'meta': {
        if ('sreg' in expression) {
          if (expression.key !== 'mark') throw new Error(`meta ${expression.key} cannot be set`);
          flight.mark = load(registers, expression.sreg, 4).readUInt32LE();
        } else {
          const value = metaOf(expression.key, flight);
          if (value === undefined) return BREAK;
          store(registers, expression.dreg, value);
        }
        return undefined;
      }
      case 'objref': {
        const count = this.counters.get(expression.counter);
        if (count === undefined) throw new Error(`no counter ${expression.counter}`);
        this.counters.set(expression.counter, count + 1);
        return undefined;
      }
      case 'payload': {
        if (expression.base === 'link') return BREAK;
        const header = expression.base === 'network' ? flight.network : flight.transport;
        const end = expression.offset + expression.length;
        if (end > header.length) return BREAK;
        store(registers, expression.dreg, header.subarray(expression.offset, end));
        return undefined;
      }
      case 'reject':
        return { code: 'reject', verdict: ANSWERS[expression.with] };
      case 'socket':
        if (!packet.listener) return BREAK;
        store(registers, expression.dreg, Buffer.from([1]));
        return undefined;
      case 'unknown':
        throw new Error(`the machine does not know ${expression.name}`);
    }
  }

  /** nft_dynset_eval, nft_rhash_update and nft_rhash_delete */
  #dynset(expression: Extract<Expression, { kind: 'dynset' }>, { registers }: Flight): Step {
    const { set, elements } = this.#set(expression.set);
    if (!set.dynamic && expression.op !== 'delete') throw new Error(`${set.name} is not dynamic`);
    const key = load(registers, expression.key, keySize(set.types));
    const id = key.toString('hex');
    for (const [name, stored] of elements) if (this.#isOver(stored)) elements.delete(name);
    if (expression.op === 'delete') {
      elements.delete(id);
      return undefined;
    }
    const { timeout, limit } = expression;
    const until = timeout === undefined ? undefined : this.now + timeout;
    let stored = elements.get(id);
    if (stored) {
      if (expression.op === 'update' && stored.until !== undefined) stored.until = until;
    } else {
      if (elements.size >= (set.size ?? 65535)) return BREAK;
      const size = set.data === undefined || set.data === VERDICT ? 0 : set.data.size;
      const data = expression.data === undefined ? undefined : load(registers, expression.data, size);
      const bucket = limit && newBucket(limit, this.now);
      stored = { key, data, comment: undefined, timeout, bucket, until };
      elements.set(id, stored);
    }
    const { bucket } = stored;
    return limit && bucket && !take(bucket, limit, this.now) ? BREAK : undefined;
  }

  #isOver({ until }: Stored): boolean {
    return until !== undefined && until <= this.now;
  }

  #set(name: string) {
    const set = this.#sets.get(name);
    if (!set) throw new Error(`no set ${name}`);
    return set;
  }
}

function host32(value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32LE(value);
  return bytes;
}

/** A copy of the registers from a word on. */
function load(registers: Buffer, sreg: Register, length: number): Buffer {
  return Buffer.from(registers.subarray(sreg * 4, sreg * 4 + length));
}

/** Writes to the registers. The rest of the last word becomes 0, as in the kernel. */
function store(registers: Buffer, dreg: Register, value: Uint8Array): void {
  registers.fill(0, dreg * 4, dreg * 4 + ((value.length + 3) & ~3));
  registers.set(value, dreg * 4);
}

type Limit = Extract<Expression, { kind: 'limit' }>;
const SECONDS = { second: 1, minute: 60, hour: 3600, day: 86400, week: 604800 } as const;
const cost = ({ rate, unit }: Limit) => Math.floor((SECONDS[unit] * 1e9) / rate);

function newBucket(limit: Limit, now: number): Bucket {
  return { tokens: cost(limit) * limit.burst, last: now };
}

function take(bucket: Bucket, limit: Limit, now: number): boolean {
  const tokens = Math.min(bucket.tokens + (now - bucket.last) * MS, cost(limit) * limit.burst);
  const enough = tokens >= cost(limit);
  bucket.last = now;
  bucket.tokens = enough ? tokens - cost(limit) : tokens;
  return enough;
}

/** Whether the last point at or before the key begins a range. */
function isInRange({ elements }: SetWithElements, key: Buffer): boolean {
  const before = elements.filter(element => Buffer.compare(element.key, key) <= 0);
  const last = before
    .toSorted((a, b) => Buffer.compare(a.key, b.key) || Number(b.end === true) - Number(a.end === true))
    .at(-1);
  return last !== undefined && !last.end;
}

function ctOf(key: Extract<Expression, { kind: 'ct' }>['key'], { packet, isTranslated }: Flight): Buffer {
  switch (key) {
    case 'state':
      return host32(CT_STATE[packet.ctState]);
    case 'direction':
      return Buffer.from([packet.ctReply ? 1 : 0]);
    case 'status':
      return host32(
        (packet.ctStatusConfirmed ? CT_STATUS.confirmed : 0) |
          (packet.ctStatusAssured ? CT_STATUS.assured : 0) |
          (isTranslated ? CT_STATUS.dnat : 0),
      );
  }
}

type MetaKey = Extract<Expression, { kind: 'meta' }>['key'];

/** Undefined if the packet has no such property. */
function metaOf(key: MetaKey, { packet, mark }: Flight): Buffer | undefined {
  switch (key) {
    case 'mark':
      return host32(mark);
    case 'nftrace':
      return Buffer.alloc(1);
    case 'iif':
      return host32(packet.iif === 'lo' ? 1 : 2);
    case 'iifname':
      return Buffer.from(packet.iif.padEnd(16, '\0'));
    case 'skuid':
      return packet.hasPeer ? host32(NOBODY) : undefined;
    case 'nfproto':
      return Buffer.from([packet.family === 'ipv4' ? 2 : 10]);
    case 'l4proto':
      return Buffer.from([PROTOCOLS[packet.protocol]]);
  }
}

function networkHeader({ family, saddr, protocol }: Packet): Buffer {
  const header = Buffer.alloc(family === 'ipv4' ? 20 : 40);
  header[0] = family === 'ipv4' ? 0x45 : 0x60;
  header[family === 'ipv4' ? 9 : 6] = PROTOCOLS[protocol];
  header[family === 'ipv4' ? 8 : 7] = 64;
  header.set(saddr, family === 'ipv4' ? 12 : 8);
  return header;
}

function transportHeader({ protocol, sport, dport, tcpFlags }: Packet): Buffer {
  const header = Buffer.alloc(protocol === 'tcp' ? 20 : 8);
  if (protocol !== 'tcp' && protocol !== 'udp') return header;
  header.writeUInt16BE(sport, 0);
  header.writeUInt16BE(dport, 2);
  if (protocol === 'tcp') header[13] = tcpFlags;
  return header;
}
