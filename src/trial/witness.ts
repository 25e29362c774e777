import { monotonic } from '../host/clock.ts';
import type { Session } from '../host/sessions.ts';
import { masked } from '../inet/address.ts';
import { FAMILIES, type Family } from '../inet/family.ts';
import type { Connection } from '../netlink/connection.ts';
import type { Flow } from '../netlink/conntrack.ts';
import { byName, type Element, type NftSet, type Ruleset } from '../nftables/ruleset.ts';
import { clientsOf } from '../ruleset/client.ts';
import type { Difference } from '../ruleset/describe.ts';
import { connectionKey } from '../ruleset/elements.ts';
import { names } from '../ruleset/names.ts';
import { decompile } from '../ruleset/program.ts';
import { clientId, GRANTED } from '../table/clients.ts';
import { readCounters, readElement, readElements, readSets } from '../table/read.ts';
import { type Author, type Proof, proofsOf } from './proofs.ts';
import { flowId, isTo, listTracked, portOf, Visits } from './visits.ts';

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
  /** The client's connections that may be from before that knock, by {@link flowId}. */
  readonly doubtful: ReadonlySet<string>;
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
    for (const flow of await listTracked(connection))
      if (proofs.some(proof => isTo(flow, proof, base.beforeDnat))) flows.add(flowId(flow));
  return { ...base, counts, standing, flows };
}

/**
 * Looks for a knock that proves the trial, and for the new connection that it let in. It reads only counters until a client
 * knocks, then the clients of that service, and their connections once the service has let one in.
 */
export class Witness {
  readonly #start: Start;
  readonly #visits: Visits;
  #counts: ReadonlyMap<string, Counts>;
  readonly #openers = new Map<string, Opener>();
  /** The clients that had another way in than a knock that proves the trial. */
  readonly #wereIn: Set<string>;

  constructor(start: Start) {
    this.#start = start;
    this.#visits = new Visits(start);
    this.#counts = start.counts;
    this.#wereIn = new Set(start.standing.keys());
  }

  /** Call this a few times a second: an opening that is over or used up leaves no trace. */
  async look(connection: Connection): Promise<Shown | undefined> {
    const { proofs, counts } = this.#start;
    if (proofs.length === 0) return undefined;
    const now = await readCounts(connection, this.#start);
    for (const proof of proofs) {
      const [began, last, is] = [counts, this.#counts, now].map(it => it.get(proof.service) ?? NONE);
      if (!began || !last || !is || is.opened <= began.opened) continue;
      if (is.opened > last.opened) await this.#addOpeners(connection, proof, last.accepted);
      if (is.accepted <= began.accepted) continue;
      const shown = await this.#whoCameIn(connection, proof);
      if (shown) return shown;
    }
    this.#counts = now;
    return undefined;
  }

  /**
   * The counters are those of all clients: `accepted` may have risen for another one. So of the connections that exist now, all may
   * be older than the knock, unless their client had no other way in.
   */
  async #addOpeners(connection: Connection, proof: Proof, accepted: number): Promise<void> {
    for (const opening of await readOpenings(connection, this.#start, proof)) {
      const { id, client, key, place, granted } = opening;
      if (this.#openers.has(id)) continue;
      if (!this.#isProof(proof, opening)) {
        if (granted || place !== undefined) this.#wereIn.add(client); // without a place, it was used up while we read
        continue;
      }
      const there = await this.#visits.to(connection, proof, key);
      const { accepted: now } = (await readCounts(connection, this.#start)).get(proof.service) ?? NONE;
      const areNew = now > accepted && !this.#wereIn.has(client);
      const user = (place !== undefined && proof.users.get(place)) || null;
      const doubtful = new Set(areNew ? [] : there.map(flowId));
      this.#openers.set(id, { service: proof.service, user, key, doubtful });
    }
  }

  #isProof(proof: Proof, opening: Opening): boolean {
    const { key, place } = opening;
    const isHis = this.#isAuthor(proof, key) || (place !== undefined && proof.anybody.has(place));
    return isHis && this.#isKnock(proof, opening);
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
      const visits = await this.#visits.to(connection, proof, opener.key);
      const { user, doubtful } = opener;
      for (const visit of visits)
        if (!doubtful.has(flowId(visit)) || (await this.#followed(connection, proof, opener, visit)))
          return { service, user };
    }
    return proof.singleUse ? this.#whoUsedUp(connection, proof) : undefined;
  }

  /**
   * Whether a connection surely began after the knock. The table has no record of datagrams, nor of a connection that its client has
   * ended. It is read last: if that takes long, the connection seems older than it is, and another look may tell.
   */
  async #followed(
    connection: Connection,
    { service, openFor }: Proof,
    { key }: Opener,
    flow: Flow,
  ): Promise<boolean> {
    const { table, beforeDnat } = this.#start;
    const opening = await readElement(connection, table, names.clients(service, flow.family), key);
    const visit = connectionKey(flow.source.address, flow.source.port, portOf(flow, beforeDnat));
    const record = await readElement(connection, table, names.admitted(flow.family), visit);
    return ageOf(record, record?.timeout) + TICKS < ageOf(opening, openFor);
  }

  /** An opening for single use may be gone before we look. Then a client that was not in before, and came in, had one. */
  async #whoUsedUp(connection: Connection, proof: Proof): Promise<Shown | undefined> {
    const anybody = proof.anybody.size === proof.users.size;
    const visits = anybody || proof.author ? await this.#visits.to(connection, proof) : [];
    const by = visits.some(({ family, source }) => {
      const key = masked(source.address, this.#start.prefix[family]);
      const wasIn = this.#wereIn.has(clientId({ service: proof.service, family, key }));
      return !wasIn && (anybody || this.#isAuthor(proof, key));
    });
    return by ? { service: proof.service, user: null } : undefined;
  }
}

const NONE: Counts = { opened: 0, accepted: 0 };
/** By how much two looks at the same opening may differ about its end, in milliseconds. */
const EXACT = 100;
/** By how much the ages of two elements may be wrong, in milliseconds: each is counted in ticks of at most 10. */
const TICKS = 20;

/** For how long an element is there that began with `timeout`, in milliseconds; NaN if nobody knows. */
function ageOf(element: Element | undefined, timeout = Number.NaN): number {
  return timeout - (element?.expires ?? Number.NaN);
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
  const named = [...users.values()].some(user => user !== null);
  const there = new Map<string, { readonly elements: readonly Element[] }>();
  const seen = new Map<Family, number>();
  for (const family of FAMILIES) {
    const clients = await elements(names.clients(service, family));
    seen.set(family, monotonic());
    there.set(names.clients(service, family), { elements: clients });
    if (clients.length === 0 || !named) continue;
    const places = names.users(service, family);
    there.set(places, { elements: await elements(places) });
  }
  return clientsOf(there, service).flatMap(({ family, element, place }): Opening[] => {
    if (element.all) return [];
    const now = seen.get(family) ?? 0;
    const key = masked(element.key, prefix[family]);
    return [
      {
        id: clientId({ service, family, key: element.key }),
        client: clientId({ service, family, key }),
        key,
        place: named ? (place ?? undefined) : only,
        until: element.expires === undefined ? null : now + element.expires,
        now,
        granted: element.comment === GRANTED,
      },
    ];
  });
}
