/** Doors that knocks open. */
import type { Destination, Door, Knocks, Opening, Patience } from './door.ts';
import { tryAgain, tryOut } from './door.ts';
import { ClientError } from './error.ts';
import { runtimeFolder } from './folders.ts';
import { knockAll } from './knock.ts';
import { isQueue, type Line, takeTurn } from './queue.ts';
import { inTurns } from './resolve.ts';

/** How long the port has to open after the last knock, in milliseconds. It doubles with each round, up to the longest. */
const FIRST_WAIT = 1000;
const LONGEST_WAIT = 4000;
const LONGEST_GAP = 1000;

/**
 * Knocks again and again, on its addresses {@link inTurns}. A new round does no harm to one under way: the server ignores
 * knocks that it has had.
 */
export async function keepKnocking(
  { name, port, addresses, key }: Door<Knocks>,
  { tryFirst, tell, timeout, env }: Patience,
  opening: Opening,
): Promise<never> {
  // while other processes knock it is closed, and what they open for single use is theirs
  let untried = tryFirst && isQueue(lineOf(env, addresses));
  if (tryFirst && !untried) await tryOut(opening, addresses);
  const turns = inTurns(addresses);
  const share = turns.length > 1 ? timeout / 2 / turns.length : LONGEST_WAIT;
  for (let factor = 1; ; factor *= 2) {
    const unreachable: ClientError[] = [];
    for (const next of turns) {
      const turn = await takeTurn(lineOf(env, next), opening.signal, () => {
        opening.attempts.giveUp();
        opening.waiting = 'other logins are still knocking';
      });
      try {
        opening.waiting = undefined;
        // also if those before us were done before we began to wait for them
        if (turn.waited || untried) await tryOut(opening, next);
        untried = false;
        const where = turns.length > 1 ? ` on ${next.join(' and ')}` : '';
        if (opening.rounds++ > 0) tell(`${name} port ${port} is still closed; knocking again${where}`);
        const gap = Math.min(key.gap * factor, Math.max(key.gap, LONGEST_GAP));
        await knockAll(next, key.knocks, gap, opening.signal);
        await tryAgain(opening, next, Math.min(FIRST_WAIT * factor, LONGEST_WAIT, share));
      } catch (error) {
        if (!(error instanceof ClientError)) throw error;
        unreachable.push(error); // there may be other addresses
      } finally {
        turn.end();
      }
    }
    if (unreachable[0] && unreachable.length === turns.length) throw unreachable[0];
  }
}

/**
 * Knocks once, on the addresses that any program takes first, when no other process of this user does. Returns those that it
 * could send to. Throws ClientError if other processes take longer than the time-out, and if nothing can be sent.
 */
export async function knockOnce(
  { name, addresses, key }: Destination<Knocks>,
  { timeout, env }: Pick<Patience, 'timeout' | 'env'>,
): Promise<readonly string[]> {
  const [first = []] = inTurns(addresses);
  const turn = await takeTurn(lineOf(env, first), AbortSignal.timeout(timeout), () => {}).catch(() => {
    throw new ClientError(`others were still knocking on ${name} after ${timeout / 1000} s: try again`);
  });
  try {
    return await knockAll(first, key.knocks, key.gap);
  } finally {
    turn.end();
  }
}

function lineOf(env: NodeJS.ProcessEnv, keys: readonly string[]): Line {
  return { folder: runtimeFolder(env), keys };
}
