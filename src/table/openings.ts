import { masked } from '../inet/address.ts';
import { FAMILIES, type Family } from '../inet/family.ts';
import { NetlinkError } from '../netlink/errors.ts';
import type { Change } from '../nftables/change.ts';
import { addElements, deleteElements, flushSet } from '../nftables/element.ts';
import { byName, type Element, type Ruleset, type SetWithElements } from '../nftables/ruleset.ts';
import type { Place } from '../ruleset/automaton.ts';
import { clientsOf, clientText, placeOf } from '../ruleset/client.ts';
import { CONNECTIONS, holdsClients, names } from '../ruleset/names.ts';
import { decompile, portsOf } from '../ruleset/program.ts';
import { GRANTED } from './clients.ts';
import { CannotChangeError, isFull } from './errors.ts';
import { withState } from './read.ts';
import type { Writer } from './writer.ts';

/** The client to let in, and the service. */
export interface Grant {
  readonly service: string;
  readonly family: Family;
  /** The first bits of an address, as many as make a client, with 0 for the others: 4 or 16 bytes. */
  readonly key: Buffer;
  /** In milliseconds. */
  readonly openFor: number;
}

export interface Granted {
  /** The time that the client had left, in milliseconds: null for no end, 0 if it was not in. */
  readonly before: number | null;
  /** False if the client was in for at least that long already. */
  readonly changed: boolean;
}

/**
 * Lets a client in, in our table as it is in the kernel. A grant never takes time away from a client that is in for longer.
 * `ask` gets the table without state, and says what is wanted. It may be asked again. Throws {@link CannotChangeError}.
 */
export function grant<G extends Grant>(
  writer: Writer,
  ask: (ruleset: Ruleset) => G,
): Promise<Granted & { readonly asked: G }> {
  return changeState(writer, async ruleset => {
    const asked = ask(ruleset);
    const { service, family } = asked;
    const [clients, users] = [names.clients(service, family), names.users(service, family)];
    const { sets } = await withState(writer.connection, ruleset, name => name === clients || name === users);
    const there = byName(sets);
    return { ...planGrant(ruleset.table.name, asked, setNamed(there, clients), there.get(users)), asked };
  }).catch(error => {
    throw isFull(error)
      ? new CannotChangeError('"limits.clients" allows no more clients: revoke some, or raise it')
      : error;
  });
}

function planGrant(
  table: string,
  { key, openFor }: Grant,
  clients: SetWithElements,
  users: SetWithElements | undefined,
): Granted & { readonly changes: readonly Change[] } {
  const client = clients.elements.find(element => element.key.equals(key));
  const before = client ? (client.expires ?? null) : 0;
  if (before === null || before >= openFor) return { before, changed: false, changes: [] };
  // a grant has no user
  const user = users?.elements.filter(element => element.key.equals(key)) ?? [];
  return {
    before,
    changed: true,
    changes: [
      ...deleteElements(table, clients, client ? [client] : []),
      ...(users ? deleteElements(table, users, user) : []),
      ...addElements(table, clients, [{ key, timeout: openFor, comment: GRANTED }]),
    ],
  };
}

/** The openings to revoke. */
type Whom =
  | { readonly is: 'client'; readonly family: Family; readonly key: Buffer; readonly client: string }
  | { readonly is: 'user'; readonly name: string }
  | { readonly is: 'everybody' };

export interface Revocation {
  readonly services: readonly string[];
  /** Whether these are all services of the table. */
  readonly everywhere: boolean;
  readonly whom: Whom;
}

/** An opening that was revoked. */
interface Opening {
  readonly service: string;
  readonly family: Family;
  readonly key: Buffer;
  /** The client for people: an address or a network. */
  readonly client: string;
  readonly user: string | null;
}

export interface Revoked {
  /** Our table, without state. */
  readonly ruleset: Ruleset;
  readonly revocation: Revocation;
  readonly openings: readonly Opening[];
}

/**
 * Revokes openings. With `connections` it also removes the records of connections, so that none goes on by them. A client that
 * is not in needs no change. `ask` and errors are as for {@link grant}. `approve` gets the planned revocation, and may throw.
 */
export function revoke(
  writer: Writer,
  ask: (ruleset: Ruleset) => Revocation,
  options: { readonly connections: boolean; readonly approve: (revoked: Revoked) => Promise<void> },
): Promise<Revoked> {
  return changeState(writer, async (ruleset, others) => {
    const revocation = ask(ruleset);
    const wanted = new Set<string>(
      FAMILIES.flatMap(family => [
        ...revocation.services.flatMap(service => [
          names.clients(service, family),
          names.users(service, family),
        ]),
        ...(options.connections ? CONNECTIONS.map(set => set(family)) : []),
      ]),
    );
    const planOf = async (table: Ruleset) => {
      const state = await withState(writer.connection, table, name => wanted.has(name));
      return planRevocation(state, revocation, options.connections);
    };
    const planned = { ruleset, revocation, ...(await planOf(ruleset)) };
    await options.approve(planned);
    const changes = [...planned.changes];
    for (const other of others) changes.push(...(await planOf(other)).changes);
    return { ...planned, changes };
  });
}

function planRevocation(ruleset: Ruleset, { services, whom }: Revocation, connections: boolean) {
  const table = ruleset.table.name;
  const sets = byName(ruleset.sets);
  const elements = (name: string) => sets.get(name)?.elements ?? [];
  const program = decompile(ruleset);
  const { openings: places, prefix } = program;
  const changes: Change[] = [];
  const remove = (name: string, gone: readonly Element[]): void => {
    const set = sets.get(name);
    if (set === undefined || gone.length === 0) return;
    // one of many may expire at this moment, and could not be deleted any more
    if (gone.length === set.elements.length && whom.is === 'everybody') changes.push(flushSet(table, set));
    else changes.push(...deleteElements(table, set, gone));
  };

  const userAt = (place: Place | null) => (place === null ? undefined : places.get(place)?.user) ?? null;
  const isMeant = (family: Family, key: Buffer, place: Place | null) =>
    whom.is === 'everybody' ||
    (whom.is === 'client'
      ? whom.family === family && masked(key, prefix[family]).equals(whom.key)
      : userAt(place) === whom.name);
  const openings = services.flatMap(service => {
    const gone = clientsOf(sets, service).filter(it => isMeant(it.family, it.element.key, it.place));
    for (const family of FAMILIES) {
      const clients = gone.filter(it => it.family === family).map(it => it.element);
      remove(names.clients(service, family), clients);
      const users = elements(names.users(service, family));
      remove(
        names.users(service, family),
        users.filter(user => isMeant(family, user.key, placeOf(user))),
      );
    }
    // if "prefix" changed, several addresses may be the same client
    const clients = new Map(
      gone.map(({ family, element, place }) => {
        const key = element.all ? element.key : masked(element.key, prefix[family]);
        const client = element.all ? '*' : clientText(family, key, prefix[family]);
        return [client, { service, family, key, client, user: userAt(place) }] as const;
      }),
    );
    return [...clients.values()];
  });
  if (connections) {
    const ports = portsOf(program, services);
    for (const family of FAMILIES) {
      const size = family === 'ipv4' ? 4 : 16;
      const keys = clientKeys(whom, family, openings);
      const isOf = ({ key }: Element) =>
        ports.has(`${key.readUInt16BE(size + 4)}/tcp`) &&
        (whom.is === 'everybody' || keys.has(masked(key.subarray(0, size), prefix[family]).toString('hex')));
      for (const set of CONNECTIONS) remove(set(family), elements(set(family)).filter(isOf));
    }
  }
  return { changes, openings };
}

/** Revokes the openings of all clients that came in at these places, for every service. */
export function revokePlaces(writer: Writer, places: ReadonlySet<number>): Promise<unknown> {
  return changeState(writer, async ruleset => {
    const state = await withState(writer.connection, ruleset, holdsClients);
    const sets = byName(state.sets);
    const isGone = (place: Place | null) => place !== null && places.has(place);
    const changes = [...decompile(ruleset).services.keys()].flatMap(service => {
      const gone = clientsOf(sets, service).filter(({ place }) => isGone(place));
      return FAMILIES.flatMap(family => {
        const users = sets.get(names.users(service, family));
        const clients = sets.get(names.clients(service, family));
        const out = gone.filter(it => it.family === family).map(it => it.element);
        const { name } = ruleset.table;
        return [
          ...(users
            ? deleteElements(
                name,
                users,
                users.elements.filter(it => isGone(placeOf(it))),
              )
            : []),
          ...(clients ? deleteElements(name, clients, out) : []),
        ];
      });
    });
    return { changes };
  });
}

/** The keys of the client that is meant, or else of the openings that were revoked, in hex. */
export function clientKeys(whom: Whom, family: Family, openings: readonly Opening[]): ReadonlySet<string> {
  const clients: readonly { family: Family; key: Buffer }[] = whom.is === 'client' ? [whom] : openings;
  return new Set(clients.filter(it => it.family === family).map(({ key }) => key.toString('hex')));
}

/**
 * One transaction on our table, planned again if another program wrote in between. While a load gives our table another name, there
 * are `others`, and each takes over the clients of the one before.
 */
function changeState<T extends { readonly changes: readonly Change[] }>(
  writer: Writer,
  plan: (ruleset: Ruleset, others: readonly Ruleset[]) => Promise<T>,
): Promise<T> {
  return writer.change(
    async ({ ours: [ruleset, ...others] }) => {
      if (!ruleset)
        throw new CannotChangeError('nothing is loaded, so nothing is guarded: run "knockd-nft load" first');
      return plan(ruleset, others);
    },
    { again: cameOrWent, surely: true },
  );
}

/** Packets and time-outs change state without a new generation, so an element may have come or expired. */
function cameOrWent(error: unknown): boolean {
  return error instanceof NetlinkError && (error.code === 'ENOENT' || error.code === 'EEXIST');
}

function setNamed(sets: ReadonlyMap<string, SetWithElements>, name: string): SetWithElements {
  const set = sets.get(name);
  if (!set)
    throw new CannotChangeError(`another program removed set ${name}: "knockd-nft load" puts it back`);
  return set;
}
