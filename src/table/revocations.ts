import { openSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { bootId, isOfThisBoot, monotonic } from '../host/clock.ts';
import { closeRead, holdsNothing, readPlain, writeWhole } from '../host/files.ts';
import { makeRuntimeFolder, runtimeFolder } from '../host/hold.ts';
import { tryLock } from '../host/lock.ts';
import { masked } from '../inet/address.ts';
import type { Family } from '../inet/family.ts';
import { decompile } from '../ruleset/program.ts';
import { type KnownClient, openedAt } from './clients.ts';
import { LockedError } from './errors.ts';
import type { Revoked } from './openings.ts';

/**
 * Notes of revocations, in the runtime folder. The supervisor and `try` remember the clients that are in, to let them
 * in again if the table has to be made. Without the notes they would also let in clients that were revoked since they
 * looked.
 */
interface Note {
  /** As {@link monotonic} counts, on that boot. Version 1.0.0 did not note the boot. */
  readonly at: number;
  readonly boot?: string | undefined;
  /** The services meant; undefined for all, including those that are not in the table at present. */
  readonly services?: readonly string[] | undefined;
  /** The client meant; undefined for all. `key` is the first `length` bits of an address in hexadecimal, the others are 0. */
  readonly client?: { readonly family: Family; readonly key: string; readonly length: number } | undefined;
  /** The places of the user meant; undefined for all users. */
  readonly places?: readonly number[] | undefined;
}

const notesPath = (env: NodeJS.ProcessEnv) => join(runtimeFolder(env), 'revoked');
/** How many notes to keep. A reader does not need notes older than its own look at the kernel. */
const MOST = 10_000;
/** How long another process may write its notes, and how often to ask, in milliseconds. A revocation does not wait for longer. */
const PATIENCE = 5000;
const LOOK = 5;
/** How long a revocation may take after its note, in milliseconds. */
const SLACK = 10_000;

/**
 * Call this before you revoke. Returns the reason if the note cannot be written; else undefined. A revocation does not wait for a
 * full disk. If this user may not write the folder, no process of theirs remembers clients there, and no note is needed.
 */
export function noteRevocation(env: NodeJS.ProcessEnv, revoked: Revoked): Promise<string | undefined> {
  return write(env, notesOf(revoked));
}

/** The same before our table is unloaded, since that forgets everybody. */
export function noteUnload(env: NodeJS.ProcessEnv): Promise<string | undefined> {
  return write(env, [now()]);
}

const now = () => ({ at: monotonic(), boot: bootId() });

async function write(env: NodeJS.ProcessEnv, notes: readonly Note[]): Promise<string | undefined> {
  const folder = runtimeFolder(env);
  const lines = notes.map(note => JSON.stringify(note));
  try {
    makeRuntimeFolder(env);
    const lock = openSync(folder, 'r');
    try {
      for (const end = performance.now() + PATIENCE; !tryLock(lock); await delay(LOOK))
        if (performance.now() > end)
          throw new LockedError(`another process has written its own for ${PATIENCE / 1000} s`);
      const all = shortened([...readLines(env), ...lines], Math.max(MOST, lines.length));
      writeWhole(notesPath(env), `${all.join('\n')}\n`, { mode: 0o644 }); // the supervisor is another user
    } finally {
      closeRead(lock);
    }
    return undefined;
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'EACCES') return undefined;
    return error instanceof Error ? error.message : String(error);
  }
}

/** The last `most` lines. One line stands for those before: nobody knows any more whom they meant, so they mean everybody. */
function shortened(lines: readonly string[], most: number): readonly string[] {
  const first = lines.length - most;
  if (first <= 0) return lines;
  const last = readNotes(lines.slice(0, first)).at(-1);
  return [...(last ? [JSON.stringify({ at: last.at, boot: last.boot })] : []), ...lines.slice(first)];
}

function notesOf({ ruleset, revocation, openings }: Revoked): Note[] {
  const { whom, everywhere } = revocation;
  const { prefix, openings: places } = decompile(ruleset);
  const clientOf = ({ family, key }: { readonly family: Family; readonly key: Buffer }) => {
    return { family, key: key.toString('hex'), length: prefix[family] };
  };
  const common = { ...now(), ...(!everywhere && { services: revocation.services }) };
  if (whom.is === 'everybody') return [common];
  if (whom.is === 'client') return [{ ...common, client: clientOf(whom) }];
  const own = [...places].flatMap(([place, { user }]) => (user === whom.name ? [place] : []));
  return [
    { ...common, places: own }, // some clients may not be in the table at this moment
    ...openings.map(opening => ({ ...common, services: [opening.service], client: clientOf(opening) })),
  ];
}

/** None if there are no notes. Throws if they are there and cannot be read. */
function readLines(env: NodeJS.ProcessEnv): string[] {
  try {
    return readPlain(notesPath(env)).split('\n').filter(Boolean);
  } catch (error) {
    if (holdsNothing(error)) return [];
    throw error;
  }
}

/**
 * The clients, which were in at the time `seen` as {@link monotonic} counts, without those that were revoked since. If nobody can
 * know who was revoked, the result is empty: the guard does not wait for that, and a client that is left out may knock again.
 */
export function withoutRevoked(
  env: NodeJS.ProcessEnv,
  clients: readonly KnownClient[],
  seen: number,
): readonly KnownClient[] {
  if (clients.length === 0) return clients;
  const now = monotonic();
  let lines: readonly string[];
  try {
    lines = readLines(env);
  } catch {
    return [];
  }
  // a later one is from before a reboot, by version 1.0.0
  const notes = readNotes(lines).filter(({ at }) => at > seen - SLACK && at <= now);
  if (notes.length === 0) return clients;
  const isRevoked = among(notes);
  return clients.filter(client => !isRevoked(client));
}

/** The notes of this boot, without lines that make no sense. */
function readNotes(lines: readonly string[]): Note[] {
  const own = bootId();
  return lines.flatMap(readNote).filter(({ boot }) => isOfThisBoot(boot, own));
}

function readNote(line: string): Note[] {
  try {
    const { at, boot, services, client, places } = JSON.parse(line) as Partial<Note>;
    if (typeof at !== 'number' || !isClient(client)) return [];
    const makesSense = areAll('string', services) && areAll('number', places);
    return makesSense ? [{ at, boot, services, client, places }] : [];
  } catch {
    return [];
  }
}

const areAll = (type: 'string' | 'number', list: unknown) =>
  list === undefined || (Array.isArray(list) && list.every(one => typeof one === type));

const isClient = (client: Partial<NonNullable<Note['client']>> | undefined) =>
  client === undefined || (typeof client.key === 'string' && typeof client.length === 'number');

/** There may be a hundred thousand clients, and as many notes. So those of a single client are found by its key. */
function among(notes: readonly Note[]): (client: KnownClient) => boolean {
  const wide = notes.filter(({ client }) => !client);
  const byKey = new Map<string, Note[]>();
  const lengths = new Map<Family, Set<number>>();
  const id = (length: number, key: string) => `${length} ${key}`;
  for (const note of notes) {
    if (!note.client) continue;
    const { family, key, length } = note.client;
    const list = byKey.get(id(length, key));
    if (list) list.push(note);
    else byKey.set(id(length, key), [note]);
    lengths.set(family, (lengths.get(family) ?? new Set()).add(length));
  }
  return client => {
    const own = [...(lengths.get(client.family) ?? [])].flatMap(
      length => byKey.get(id(length, masked(Buffer.from(client.key), length).toString('hex'))) ?? [],
    );
    return [...wide, ...own].some(note => isMeant(note, client));
  };
}

function isMeant({ at, services, places }: Note, known: KnownClient): boolean {
  if (openedAt(known) > at) return false;
  return (
    (services?.includes(known.service) ?? true) && (places?.some(place => place === known.place) ?? true)
  );
}
