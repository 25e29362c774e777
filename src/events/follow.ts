import { connect, type Socket } from 'node:net';
import { setTimeout as delay } from 'node:timers/promises';
import { EVENTS, type Snapshot, type Told } from './event.ts';

export type Message =
  | { readonly is: 'connected'; readonly snapshot: Snapshot }
  /** `line` as the supervisor wrote it. */
  | { readonly is: 'told'; readonly told: Told; readonly line: string }
  /** No supervisor answers, so events are missed until the next connection. It is tried again. */
  | { readonly is: 'waiting'; readonly why: string }
  /** We may not read the socket. It is tried again. */
  | { readonly is: 'refused'; readonly why: string };

/** How long to wait before the next connection, in milliseconds. A supervisor is back after half a second. */
const FIRST = 200;
const LONGEST = 5000;

/** Reads the supervisor's stream at that socket, through all its restarts, until the signal. */
export async function* followEvents(path: string, signal: AbortSignal): AsyncGenerator<Message, void> {
  for (let pause = FIRST; !signal.aborted; pause = Math.min(2 * pause, LONGEST)) {
    const socket = connect(path);
    const stop = () => void socket.destroy();
    signal.addEventListener('abort', stop);
    try {
      for await (const message of messages(socket)) {
        if (message.is === 'connected') pause = FIRST;
        yield message;
      }
      if (!signal.aborted) yield { is: 'waiting', why: 'the supervisor ended the connection' };
    } catch (error) {
      const { code, message } = error as NodeJS.ErrnoException;
      const isNobody = code === 'ENOENT' || code === 'ECONNREFUSED';
      const why = isNobody ? `no supervisor reports events at ${path}` : message;
      if (!signal.aborted) yield { is: code === 'EACCES' ? 'refused' : 'waiting', why };
    } finally {
      signal.removeEventListener('abort', stop);
      socket.destroy();
    }
    await delay(pause, undefined, { signal }).catch(() => {}); // ended
  }
}

/** The messages until the supervisor ends the connection. Throws if there is no connection, or if the socket is destroyed. */
async function* messages(socket: Socket): AsyncGenerator<Message, void> {
  let rest = '';
  for await (const chunk of socket.setEncoding('utf8')) {
    const lines = (rest + chunk).split('\n');
    rest = lines.pop() ?? '';
    for (const line of lines) {
      const read = readEvent(line);
      if (read?.event === 'snapshot') yield { is: 'connected', snapshot: read };
      else if (read) yield { is: 'told', told: read, line };
    }
  }
}

/** Undefined for an event that we do not know, since the supervisor may be of another version. */
export function readEvent(line: string): Told | Snapshot | undefined {
  try {
    const read = JSON.parse(line) as Told | Snapshot | null;
    return read && (read.event === 'snapshot' || Object.hasOwn(EVENTS, read.event)) ? read : undefined;
  } catch {
    return undefined; // no JSON
  }
}

/** How long a supervisor may take to answer, in milliseconds. One that was stopped never does. */
const ANSWER = 1000;

/** The supervisor's snapshot of this moment; undefined if none answers in time. */
export async function readSnapshot(path: string): Promise<Snapshot | undefined> {
  for await (const message of followEvents(path, AbortSignal.timeout(ANSWER)))
    return message.is === 'connected' ? message.snapshot : undefined;
  return undefined;
}
