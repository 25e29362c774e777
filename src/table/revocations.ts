import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { monotonic } from '../host/clock.ts';
import { holdsNothing, readPlain, writeWhole } from '../host/files.ts';
import { runtimeFolder } from '../host/hold.ts';
import { masked } from '../inet/address.ts';
import type { Family } from '../inet/family.ts';
import { decompile } from '../ruleset/program.ts';
import { type KnownClient, openedAt } from './clients.ts';
import type { Revoked } from './openings.ts';

/**
 * Notes of what was revoked, in the runtime folder. The supervisor and `try` remember the clients that are in, to let them in
 * again if the table has to be made. Without the notes they would also let in clients that were revoked since they looked.
 */
interface Note {
  /** As {@link monotonic} counts. */
  readonly at: number;
  /** The services meant; undefined for all, including those that are not in the table at present. */
  readonly services?: readonly string[] | undefined;
  /** The client meant; undefined for all. `key` is the first `length` bits of an address in hexadecimal, the others are 0. */
  readonly client?: { readonly family: Family; readonly key: string; readonly length: number };
}

const notesPath = (env: NodeJS.ProcessEnv) => join(runtimeFolder(env), 'revoked');
/** How many notes to keep. A reader does not need notes older than its own look at the kernel. */
const MOST = 1000;
/** How long a revocation may take after its note, in milliseconds. */
const SLACK = 10_000;

/**
 * Call this before you revoke. Returns the reason if the note cannot be written; else undefined. A revocation does not wait for a
 * full disk. If this user may not write the folder, no process of theirs remembers clients there, and no note is needed.
 */
export function noteRevocation(env: NodeJS.ProcessEnv, revoked: Revoked): string | undefined {
  const lines = notesOf(revoked).map(note => JSON.stringify(note));
  try {
    mkdirSync(runtimeFolder(env), { recursive: true, mode: 0o755 });
    const all = [...readLines(env), ...lines].slice(-Math.max(MOST, lines.length));
    writeWhole(notesPath(env), `${all.join('\n')}\n`, { mode: 0o644 }); // the supervisor is another user
    return undefined;
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'EACCES') return undefined;
    return error instanceof Error ? error.message : String(error);
  }
}

function notesOf({ ruleset, revocation, openings }: Revoked): Note[] {
  const { whom, everywhere } = revocation;
  const { prefix } = decompile(ruleset);
  const clientOf = ({ family, key }: { readonly family: Family; readonly key: Buffer }) => {
    return { family, key: key.toString('hex'), length: prefix[family] };
  };
  const common = { at: monotonic(), ...(!everywhere && { services: revocation.services }) };
  if (whom.is === 'everybody') return [common];
  if (whom.is === 'client') return [{ ...common, client: clientOf(whom) }];
  return openings.map(opening => ({ ...common, services: [opening.service], client: clientOf(opening) }));
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
  const notes = lines.flatMap(readNote).filter(({ at }) => at > seen - SLACK && at <= now); // a later one is from before a reboot
  return clients.filter(client => !notes.some(note => isMeant(note, client)));
}

/** The note in a line; none if the line makes no sense. */
function readNote(line: string): Note[] {
  try {
    const note = JSON.parse(line) as Partial<Note> | null;
    return typeof note?.at === 'number' ? [{ ...note, at: note.at }] : [];
  } catch {
    return [];
  }
}

function isMeant({ at, services, client }: Note, known: KnownClient): boolean {
  if (openedAt(known) > at || (services && !services.includes(known.service))) return false;
  if (!client) return true;
  const { family, key, length } = client;
  return known.family === family && masked(Buffer.from(known.key), length).toString('hex') === key;
}
