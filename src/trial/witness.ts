import { monotonic } from '../host/clock.ts';
import type { Session } from '../host/sessions.ts';
import { masked } from '../inet/address.ts';
import { FAMILIES, type Family } from '../inet/family.ts';
import type { Connection, Request } from '../netlink/connection.ts';
import { decodeFlow, type Flow, listFlows, listFlowsFrom } from '../netlink/conntrack.ts';
import { NetlinkError } from '../netlink/errors.ts';
import { byName, type NftSet, type Ruleset } from '../nftables/ruleset.ts';
import type { Difference } from '../ruleset/describe.ts';
import { names } from '../ruleset/names.ts';
import { decompile } from '../ruleset/program.ts';
import { clientId, GRANTED } from '../table/clients.ts';
import { readCounters, readElements, readSets } from '../table/read.ts';
import { type Author, type Proof, proofsOf } from './proofs.ts';

/** The state when the candidate's rules came into force, and what to look for since. It is plain data, to be noted. */
export interface Start {
  readonly table: string;
  /** When the rules came into force, as {@link monotonic} counts. */
  readonly at: number;
  readonly prefix: Readonly<Record<Family, number>>;
  /** Whether the guards look at the port that a packet was sent to, and not at the one after DNAT. */
  readonly beforeDnat: boolean;
  readonly author: Author | null;
  readonly proofs: readonly Proof[];
  readonly counts: ReadonlyMap<string, Counts>;
  /** The clients that were in, by {@link clientId} of elements and of clients, and until when; null for no end. */
  readonly standing: ReadonlyMap<string, number | null>;
  /** Connections to the services, by {@link flowId}. */
  readonly flows: ReadonlySet<string>;
}

/** The counters of a service: sequences completed, connections let in. */
interface Counts {
  readonly opened: number;
  readonly accepted: number;
}

/** The knock that proved that a client gets in. */
export interface Shown {
  readonly service: string;
  readonly user: string | null;
}

/** A client that has opened a service since, by a knock that proves the trial. */
interface Opener extends Shown {
  readonly key: Buffer;
  /** The client's connections from before that knock. */
  readonly old: ReadonlySet<string>;
}

/** A key that tells connections apart, however a socket names the peer. */
export function sessionId({ peer, peerPort, port }: Omit<Session, 'family'>): string {
  return `${peer.toString('hex')} ${peerPort} ${port}`;
}

function flowId({ protocol, source, answers }: Flow): string {
  const id = sessionId({ peer: source.address, peerPort: source.port, port: answers.source.port });
  return `${protocol} ${id}`;
}

/** Call this when the candidate's rules have come into force. `sessions` are the TCP connections from before. */
export async function beginWitness(
  connection: Connection,
  before: Ruleset | undefined,
  wanted: Ruleset,
  options: {
    readonly changes: readonly Difference[];
    readonly login: Session | undefined;
    readonly sessions: readonly string[];
  },
): Promise<Start> {
  const table = wanted.table.name;
  const { prefix, hook } = decompile(wanted);
  const { author, proofs } = proofsOf(before, wanted, options.changes, options.login);
  const base = {
    table,
    at: monotonic(),
    prefix,
    beforeDnat: hook === 'prerouting',
    author,
    proofs,
  };
  const counts = await readCounts(connection, base);
  const sets = byName(proofs.length > 0 ? await readSets(connection, table) : []);
  const standing = new Map<string, number | null>();
  for (const proof of proofs)
    for (const { id, client, until } of await readOpenings(connection, base, proof, sets)) {
      standing.set(id, until);
      if (!standing.has(client)) standing.set(client, until);
    }
  const flows = new Set(options.sessions.map(id => `tcp ${id}`));
  if (proofs.length > 0)
    for (const flow of await readFlows(connection, FAMILIES.map(listFlows)).catch(withoutTracking))
      if (proofs.some(proof => isTo(flow, proof, base.beforeDnat))) flows.add(flowId(flow));
  return { ...base, counts, standing, flows };
}

/** For a kernel that cannot list tracked connections. Then no knock confirms, and a look that needs them fails. */
function withoutTracking(error: unknown): Flow[] {
  if (error instanceof NetlinkError && error.code !== 'EPERM') return [];
  throw error;
}

/**
 * Looks for a knock that proves the trial, and for the new connection that it let in. It reads only counters until a client
 * knocks, then the clients of that service, and their connections once the service has let one in.
 */
export class Witness {
  readonly #start: Start;
  #counts: ReadonlyMap<string, Counts>;
  readonly #openers = new Map<string, Opener>();

  constructor(start: Start) {
    this.#start = start;
    this.#counts = start.counts;
  }

  /** Call this a few times a second: an opening that is over or used up leaves no trace. */
  async look(connection: Connection): Promise<Shown | undefined> {
    const { proofs, counts } = this.#start;
    if (proofs.length === 0) return undefined;
    const now = await readCounts(connection, this.#start);
    for (const proof of proofs) {
      const [began, last, is] = [counts, this.#counts, now].map(it => it.get(proof.service) ?? NONE);
      if (!began || !last || !is || is.opened <= began.opened) continue;
      if (is.opened > last.opened) await this.#addOpeners(connection, proof, is.accepted > last.accepted);
      if (is.accepted <= began.accepted) continue;
      const shown = await this.#whoCameIn(connection, proof);
      if (shown) return shown;
    }
    this.#counts = now;
    return undefined;
  }

  /** `cameIn`: a connection was let in since the last look, so connections that exist now may be new. */
  async #addOpeners(connection: Connection, proof: Proof, cameIn: boolean): Promise<void> {
    for (const opening of await readOpenings(connection, this.#start, proof)) {
      const { id, key, place } = opening;
      if (this.#openers.has(id) || !this.#isKnock(proof, opening)) continue;
      if (!this.#isAuthor(proof, key) && !(place !== undefined && proof.anybody.has(place))) continue;
      const old = cameIn ? [] : await this.#visits(connection, proof, key);
      const user = (place !== undefined && proof.users.get(place)) || null;
      this.#openers.set(id, { service: proof.service, user, key, old: new Set(old.map(flowId)) });
    }
  }

  /** Whether an opening is from a knock during the trial, and neither older than that nor made by hand. */
  #isKnock({ openFor }: Proof, { id, until, now, granted }: Opening): boolean {
    const { standing, at } = this.#start;
    const before = standing.get(id);
    if (granted || until === null || before === null) return false;
    const knocked = until - openFor;
    return knocked >= at && knocked <= now + EXACT && !(before && Math.abs(until - before) < EXACT);
  }

  #isAuthor(proof: Proof, key: Uint8Array): boolean {
    const { author } = this.#start;
    return proof.author && author !== null && Buffer.from(author.key).equals(key);
  }

  async #whoCameIn(connection: Connection, proof: Proof): Promise<Shown | undefined> {
    const { service } = proof;
    for (const opener of this.#openers.values()) {
      if (opener.service !== service) continue;
      const visits = await this.#visits(connection, proof, opener.key);
      if (visits.some(visit => !opener.old.has(flowId(visit)))) return { service, user: opener.user };
    }
    return proof.singleUse ? this.#whoUsedUp(connection, proof) : undefined;
  }

  /** An opening for single use may be gone before we look. Then a client that was not in before, and came in, had one. */
  async #whoUsedUp(connection: Connection, proof: Proof): Promise<Shown | undefined> {
    const anybody = proof.anybody.size === proof.users.size;
    const visits = anybody || proof.author ? await this.#visits(connection, proof) : [];
    const by = visits.some(({ family, source }) => {
      const key = masked(source.address, this.#start.prefix[family]);
      const wasIn = this.#start.standing.has(clientId({ service: proof.service, family, key }));
      return !wasIn && (anybody || this.#isAuthor(proof, key));
    });
    return by ? { service: proof.service, user: null } : undefined;
  }

  /** Connections to the service that are newer than the trial's rules. TCP ones must be answered and established. */
  async #visits(connection: Connection, proof: Proof, key?: Buffer): Promise<Flow[]> {
    const { prefix, beforeDnat, flows } = this.#start;
    const whole = key && key.length * 8 === prefix[familyOf(key)];
    const requests = whole ? [listFlowsFrom(key)] : (key ? [familyOf(key)] : FAMILIES).map(listFlows);
    return (await readFlows(connection, requests)).filter(
      flow =>
        (flow.protocol === 'udp' || (flow.assured && flow.fromStart)) &&
        (!key || masked(flow.source.address, prefix[flow.family]).equals(key)) &&
        isTo(flow, proof, beforeDnat) &&
        !flows.has(flowId(flow)),
    );
  }
}

const NONE: Counts = { opened: 0, accepted: 0 };
/** By how much two looks at the same opening may differ about its end, in milliseconds. */
const EXACT = 100;

function familyOf(key: Uint8Array): Family {
  return key.length === 4 ? 'ipv4' : 'ipv6';
}

async function readCounts(
  connection: Connection,
  { table, proofs }: Pick<Start, 'table' | 'proofs'>,
): Promise<Map<string, Counts>> {
  if (proofs.length === 0) return new Map();
  const counters = byName(await readCounters(connection, table));
  const packets = (name: string) => counters.get(name)?.packets ?? 0;
  return new Map(
    proofs.map(({ service }) => [
      service,
      { opened: packets(names.opened(service)), accepted: packets(names.accepted(service)) },
    ]),
  );
}

interface Opening {
  /** {@link clientId} of the element, which may be from before `prefix` changed, and of the client. */
  readonly id: string;
  readonly client: string;
  readonly key: Buffer;
  /** The place that let it in. */
  readonly place: number | undefined;
  /** When it ends, as {@link monotonic} counts, and when we looked; null for never. */
  readonly until: number | null;
  readonly now: number;
  readonly granted: boolean;
}

/** The clients that are in. `sets`, if given, say which of them are empty. */
async function readOpenings(
  connection: Connection,
  { table, prefix }: Pick<Start, 'table' | 'prefix'>,
  { service, users }: Proof,
  sets?: ReadonlyMap<string, NftSet>,
): Promise<Opening[]> {
  const elements = (name: string) => {
    const set = sets?.get(name);
    return sets && !set ? [] : readElements(connection, table, set ?? { name, interval: false });
  };
  const [only] = users.size === 1 ? users.keys() : [];
  const openings: Opening[] = [];
  for (const family of FAMILIES) {
    const clients = await elements(names.clients(service, family));
    const now = monotonic();
    const named = [...users.values()].some(user => user !== null);
    const places = new Map(
      (clients.length > 0 && named ? await elements(names.users(service, family)) : []).map(
        ({ key, data }) => [key.toString('hex'), Buffer.isBuffer(data) ? data.readUInt32LE(0) : undefined],
      ),
    );
    for (const { key: address, all, expires, comment } of clients) {
      if (all) continue;
      const key = masked(address, prefix[family]);
      openings.push({
        id: clientId({ service, family, key: address }),
        client: clientId({ service, family, key }),
        key,
        place: named ? places.get(address.toString('hex')) : only,
        until: expires === undefined ? null : now + expires,
        now,
        granted: comment === GRANTED,
      });
    }
  }
  return openings;
}

function isTo({ protocol, destination, answers }: Flow, { ports }: Proof, beforeDnat: boolean): boolean {
  const { port } = beforeDnat ? destination : answers.source;
  return ports.some(range => range.protocol === protocol && range.first <= port && port <= range.last);
}

async function readFlows(connection: Connection, requests: readonly Request[]): Promise<Flow[]> {
  const flows: Flow[] = [];
  for (const request of requests)
    for (const { payload } of await connection.dump(request)) {
      const flow = decodeFlow(payload);
      if (flow) flows.push(flow);
    }
  return flows;
}
