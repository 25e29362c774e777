// terminal/ has columns, colours and questions. All output goes through harmless.ts,
// so that text of others cannot control a terminal.
// Floor 1: it imports only from rooms on lower floors.

import { createInterface } from 'node:readline';
import { written } from './harmless.ts';

/** Shows the prompt, and returns the line that was typed, without spaces around it. */
export type Ask = (prompt: string) => Promise<string>;

/** The user does not want to answer: Ctrl-C, or the end of the input. */
export class NoAnswerError extends Error {
  override readonly name = 'NoAnswerError';
  /** Whether it was Ctrl-C. */
  readonly interrupted: boolean;

  constructor(interrupted: boolean) {
    super('no answer');
    this.interrupted = interrupted;
  }
}

/**
 * Asks on the terminal, on stderr, for as long as `work` takes. Afterwards the terminal is as before. Lines that are typed
 * ahead answer the next questions. An `Ask` rejects with {@link NoAnswerError}.
 */
export async function withQuestions<T>(work: (ask: Ask) => Promise<T>): Promise<T> {
  const terminal = createInterface({ input: process.stdin, output: process.stderr });
  const lines = terminal[Symbol.asyncIterator]();
  let interrupted = false;
  terminal.on('SIGINT', () => {
    interrupted = true;
    terminal.close();
  });
  try {
    return await work(async prompt => {
      terminal.setPrompt(written(prompt));
      terminal.prompt();
      const { value, done } = await lines.next();
      if (!done) return value.trim();
      process.stderr.write('\n');
      throw new NoAnswerError(interrupted);
    });
  } finally {
    terminal.close();
  }
}
