// demo/ is what `npm start` shows: a server, a client and an attacker in namespaces of their own.
// It uses the program as any user does.
// Floor 7: it imports only from rooms on lower floors.

/** Calls of another process, as JSON lines: requests on its stdin, answers on its stdout. It ends when its stdin ends. */
import type { ChildProcessWithoutNullStreams } from 'node:child_process';
import { createInterface, type Interface } from 'node:readline';

/** The parameters and the result of a call, both as JSON. */
type Call = readonly [parameters: unknown, result: unknown];

/** For each call, what the other process does. */
export type Handlers<Calls> = {
  readonly [Name in keyof Calls]: Calls[Name] extends Call
    ? (parameters: Calls[Name][0]) => Promise<Calls[Name][1]>
    : never;
};

interface Request {
  readonly id: number;
  readonly call: string;
  readonly parameters: never;
}

type Reply = { readonly id: number } & ({ readonly result: unknown } | { readonly error: string });

/** Answers calls from stdin until its end, which is the end of the interface that it returns. */
export function answerCalls<Calls>(handlers: Handlers<Calls>): Interface {
  const known = handlers as Readonly<Record<string, (parameters: never) => Promise<unknown>>>;
  return createInterface({ input: process.stdin }).on('line', async line => {
    const { id, call, parameters } = JSON.parse(line) as Request;
    const reply: Reply = await (async () => known[call]?.(parameters))().then(
      result => ({ id, result }),
      error => ({ id, error: `${call}: ${error instanceof Error ? error.message : String(error)}` }),
    );
    process.stdout.write(`${JSON.stringify(reply)}\n`);
  });
}

/** The other process, as its caller sees it. */
export interface Callee<Calls extends Readonly<Record<keyof Calls, Call>>> {
  /** Rejects with the other process's error, or if it ends before it answers. */
  readonly call: <Name extends keyof Calls>(
    name: Name,
    parameters: Calls[Name][0],
  ) => Promise<Calls[Name][1]>;
  /** Ends it. */
  readonly end: () => Promise<void>;
}

/** Talks to {@link answerCalls} in the process `child`. Errors mention `name`. */
export function calleeIn<Calls extends Readonly<Record<keyof Calls, Call>>>(
  name: string,
  child: ChildProcessWithoutNullStreams,
): Callee<Calls> {
  const waiting = new Map<number, { resolve: (result: never) => void; reject: (error: Error) => void }>();
  let last = 0;
  let errors = '';
  let ended: Error | undefined;
  child.stderr.setEncoding('utf8').on('data', text => {
    errors += text;
  });
  child.stdin.on('error', () => {}); // its end is reported below
  createInterface({ input: child.stdout }).on('line', line => {
    const reply = JSON.parse(line) as Reply;
    const asked = waiting.get(reply.id);
    waiting.delete(reply.id);
    if ('error' in reply) asked?.reject(new Error(`${name}: ${reply.error}`));
    else asked?.resolve(reply.result as never);
  });
  const end = new Promise<void>(resolve => {
    child.once('error', error => {
      errors += error.message;
    });
    child.once('close', () => {
      ended = new Error(`the process of ${name} ended: ${errors.trim()}`);
      for (const { reject } of waiting.values()) reject(ended);
      waiting.clear();
      resolve();
    });
  });
  return {
    call: (call, parameters) =>
      new Promise((resolve, reject) => {
        if (ended) return reject(ended);
        const id = ++last;
        waiting.set(id, { resolve, reject });
        child.stdin.write(`${JSON.stringify({ id, call, parameters })}\n`);
      }),
    end() {
      child.stdin.end();
      return end;
    },
  };
}
