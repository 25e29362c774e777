import type { Family } from '../inet/family.ts';
import { clientId, type KnownClient, openedAt, SLACK } from '../table/clients.ts';

/**
 * Clients in one piece of memory, since there may be more than a hundred thousand. Each takes 48 bytes, and those that end
 * first come first. The thread of a load makes it, orders and compares. This thread only looks up.
 */
export interface PackedClients {
  readonly services: readonly string[];
  readonly bytes: Uint8Array<ArrayBuffer>;
}

const RECORD = 48;
/** The offsets in a record: the index in `services`, 4 or 6, the key, the place, {@link FLAG}s, and two times. */
const AT = { service: 0, family: 4, key: 8, place: 24, flags: 28, timeout: 32, until: 40 } as const;
const FLAG = { granted: 1, place: 2, timeout: 4, superseded: 8 } as const;
/** The length of the part that tells clients apart. */
const IDENTITY = AT.place;

const NONE: PackedClients = { services: [], bytes: new Uint8Array() };

export function pack(clients: readonly KnownClient[]): PackedClients {
  const numbers = new Map<string, number>();
  const bytes = new Uint8Array(clients.length * RECORD);
  const view = new DataView(bytes.buffer);
  const end = ({ until }: KnownClient) => until ?? Number.POSITIVE_INFINITY;
  const ordered = clients.toSorted((a, b) => (end(a) === end(b) ? 0 : end(a) - end(b)));
  for (const [index, client] of ordered.entries()) {
    const { service, family, key, place, timeout, granted } = client;
    const number = numbers.get(service) ?? numbers.size;
    numbers.set(service, number);
    const at = index * RECORD;
    bytes.set(identity(number, family, key), at);
    view.setUint32(at + AT.place, place ?? 0);
    const flags = [granted && FLAG.granted, place !== null && FLAG.place, timeout !== null && FLAG.timeout];
    view.setUint32(
      at + AT.flags,
      flags.reduce<number>((sum, flag) => sum | (flag || 0), 0),
    );
    view.setFloat64(at + AT.timeout, timeout ?? 0);
    view.setFloat64(at + AT.until, end(client));
  }
  return { services: [...numbers.keys()], bytes };
}

function identity(service: number, family: Family, key: Uint8Array): Buffer {
  const bytes = Buffer.alloc(IDENTITY);
  bytes.writeUInt32BE(service, AT.service);
  bytes[AT.family] = family === 'ipv4' ? 4 : 6;
  bytes.set(key, AT.key);
  return bytes;
}

export function* unpack({ services, bytes }: PackedClients): Generator<KnownClient> {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  for (let at = 0; at < bytes.length; at += RECORD) {
    const flags = view.getUint32(at + AT.flags);
    if (flags & FLAG.superseded) continue;
    const family = bytes[at + AT.family] === 4 ? 'ipv4' : 'ipv6';
    const until = view.getFloat64(at + AT.until);
    yield {
      service: services[view.getUint32(at + AT.service)] ?? '',
      family,
      key: bytes.slice(at + AT.key, at + AT.key + (family === 'ipv4' ? 4 : 16)),
      place: flags & FLAG.place ? view.getUint32(at + AT.place) : null,
      timeout: flags & FLAG.timeout ? view.getFloat64(at + AT.timeout) : null,
      until: until === Number.POSITIVE_INFINITY ? null : until,
      granted: (flags & FLAG.granted) !== 0,
    };
  }
}

/** Whether a value of a file is that. */
export function isPacked(value: unknown): value is PackedClients {
  const { services, bytes } = (value ?? {}) as Partial<Record<keyof PackedClients, unknown>>;
  const isText = (name: unknown) => typeof name === 'string';
  return (
    Array.isArray(services) &&
    services.every(isText) &&
    bytes instanceof Uint8Array &&
    bytes.length % RECORD === 0
  );
}

export function countOf({ bytes }: PackedClients): number {
  return bytes.length / RECORD;
}

/** The clients that were known when a load began, for its thread. */
export interface Known {
  /** The kernel's handle of the table that they are in; undefined if we know none. */
  readonly table: string | undefined;
  /** As read from the kernel. */
  readonly packed: PackedClients;
  /** The revocations since then count, in milliseconds as `monotonic` counts. */
  readonly seen: number;
  /** The clients that were let in since. */
  readonly recent: readonly KnownClient[];
}

export function allKnown({ packed, recent }: Known): KnownClient[] {
  return [...unpack(packed), ...recent];
}

/** As many of them as `most`: those let in since, and those with the most time left. */
export function latestOf({ packed: { services, bytes }, recent }: Known, most: number): KnownClient[] {
  const late = recent.slice(-most);
  const first = Math.max(0, bytes.length - (most - late.length) * RECORD);
  return [...unpack({ services, bytes: bytes.subarray(first) }), ...late];
}

/** The known clients that are in. The kernel reports each that it lets in, and we read it after each change of the ruleset. */
export class Clients {
  #packed = NONE;
  #table: string | undefined;
  #seen = 0;
  /** Records before this one are over. */
  #first = 0;
  /** How many records from there on a later opening has replaced. */
  #superseded = 0;
  #recent = new Map<string, { readonly client: KnownClient; readonly latest: number }>();

  get size(): number {
    return countOf(this.#packed) - this.#first - this.#superseded + this.#recent.size;
  }

  /** Those that end first come first. The clients let in since the kernel was read come last. */
  *each(): Generator<KnownClient> {
    const { services, bytes } = this.#packed;
    yield* unpack({ services, bytes: bytes.subarray(this.#first * RECORD) });
    yield* this.recent;
  }

  /** How many are in, by service. With a hundred thousand clients, each has to cost as little as it can. */
  countByService(): Map<string, number> {
    const { services, bytes } = this.#packed;
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    const counts = services.map(() => 0);
    for (let at = this.#first * RECORD; at < bytes.length; at += RECORD) {
      if (view.getUint32(at + AT.flags) & FLAG.superseded) continue;
      const service = view.getUint32(at + AT.service);
      counts[service] = (counts[service] ?? 0) + 1;
    }
    const all = new Map(services.map((service, index) => [service, counts[index] ?? 0]));
    for (const { service } of this.recent) all.set(service, (all.get(service) ?? 0) + 1);
    return all;
  }

  /** A copy, which may go to another thread. */
  known(): Known {
    const { services, bytes } = this.#packed;
    return {
      table: this.#table,
      packed: { services, bytes: bytes.slice(this.#first * RECORD) },
      seen: this.seen,
      recent: this.recent,
    };
  }

  /**
   * Since when revocations count, as `monotonic` counts: since the kernel was read, or since a client may have come that may as well
   * have come after that.
   */
  get seen(): number {
    let seen = this.#seen;
    for (const { client } of this.#recent.values()) seen = Math.min(seen, openedAt(client));
    return seen;
  }

  /** Clients that were let in since the kernel was read. */
  get recent(): readonly KnownClient[] {
    return [...this.#recent.values()].map(({ client }) => client);
  }

  /** Takes over what a process before this one knew. */
  goOn({ table, packed, seen, recent }: Known): void {
    this.replace(packed, seen, table);
    for (const client of recent) this.opened(client);
  }

  /**
   * A client was let in, at `latest` at the latest. If the kernel was read after that, the reading knows better. In doubt, the
   * client is in for as long as either says.
   */
  opened(client: KnownClient, latest = openedAt(client)): void {
    if (latest < this.#seen - SLACK) return;
    const at = this.#find(client);
    if (at !== undefined) {
      const read = this.#view().getFloat64(at + AT.until);
      if (openedAt(client) < this.#seen && client.until !== null && read >= client.until) return;
      this.#supersede(at);
    }
    this.#recent.set(clientId(client), { client, latest });
  }

  #view(): DataView {
    return new DataView(this.#packed.bytes.buffer);
  }

  /** Where the client's record is, unless a later opening has replaced it. */
  #find({ service, family, key }: KnownClient): number | undefined {
    const { services, bytes } = this.#packed;
    const number = services.indexOf(service);
    if (number < 0) return undefined;
    const wanted = identity(number, family, key);
    const all = Buffer.from(bytes.buffer);
    let at = all.indexOf(wanted, this.#first * RECORD);
    while (at >= 0 && at % RECORD !== 0) at = all.indexOf(wanted, at + 1);
    return at < 0 || this.#view().getUint32(at + AT.flags) & FLAG.superseded ? undefined : at;
  }

  #supersede(at: number): void {
    const view = this.#view();
    view.setUint32(at + AT.flags, view.getUint32(at + AT.flags) | FLAG.superseded);
    this.#superseded++;
  }

  forgetExpired(now: number): void {
    const { bytes } = this.#packed;
    const view = new DataView(bytes.buffer);
    for (; this.#first * RECORD < bytes.length; this.#first++) {
      const at = this.#first * RECORD;
      if (view.getFloat64(at + AT.until) > now) break;
      if (view.getUint32(at + AT.flags) & FLAG.superseded) this.#superseded--;
    }
    for (const [
      id,
      {
        client: { until },
      },
    ] of this.#recent)
      if (until !== null && until <= now) this.#recent.delete(id);
  }

  /** The kernel's handle of the table that they are in. Another table of that name has another handle. */
  get table(): string | undefined {
    return this.#table;
  }

  /**
   * Takes over the clients that were read from the kernel, from the table of that handle. The reading began at `begun`. It may lack
   * clients let in since then, so those stay.
   */
  replace(packed: PackedClients, begun: number, table: string | undefined): void {
    const late = [...this.#recent.values()].filter(({ latest }) => latest >= begun);
    this.#table = table;
    this.#packed = packed;
    this.#seen = begun;
    this.#first = 0;
    this.#superseded = 0;
    this.#recent = new Map();
    for (const { client, latest } of late) this.opened(client, latest);
  }
}

/** Changes by hand, with `grant` and `revoke` or with another program. */
interface ByHand {
  readonly granted: readonly KnownClient[];
  readonly revoked: readonly KnownClient[];
}

/**
 * The changes by hand between `before` and the clients that a load `read` from the kernel. The load began at `begun`, and had read
 * them at `done`.
 */
export function byHand(
  before: readonly KnownClient[],
  read: readonly KnownClient[],
  begun: number,
  done: number,
): ByHand {
  const known = new Map(before.map(client => [clientId(client), client]));
  const there = new Set(read.map(clientId));
  return {
    granted: read.filter(client => client.granted && isLonger(client, known.get(clientId(client)))),
    revoked: [...known].flatMap(([id, client]) => {
      const mayHaveExpired = client.until !== null && client.until <= done + SLACK;
      return there.has(id) || mayHaveExpired || openedAt(client) >= begun ? [] : [client];
    }),
  };
}

function isLonger({ until }: KnownClient, before: KnownClient | undefined): boolean {
  if (!before) return true;
  return before.until !== null && (until === null || until > before.until + SLACK);
}
