import type { Closed } from '../config/types.ts';
import type { Port } from '../inet/port.ts';
import type { Addresses, Stage } from './stage.ts';
import type { Teller } from './teller.ts';

/** A step that the demo claimed did not happen. */
export class NotSeenError extends Error {
  override readonly name = 'NotSeenError';
}

/** Sees each step before we tell it. Every method throws {@link NotSeenError} if its step did not happen. */
export interface Witness {
  readonly check: (step: string, claim: string, ok: boolean, seen?: string) => void;
  /** The client gets in and is greeted. With `stay` it keeps the connection. */
  readonly isOpen: (step: string, to: Addresses, port: number, stay?: boolean) => Promise<void>;
  /** The client does not get in, over any family. */
  readonly areClosed: (step: string, port: number, closed: Closed) => Promise<void>;
  /** The connection that stayed still carries words in both directions. */
  readonly goesOn: (step: string) => Promise<void>;
  readonly knock: (to: Addresses, knocks: readonly Port[]) => Promise<void>;
}

/** The first words of the demo's services. */
export const GREETING = 'Hello! You found the hidden service.';

/** How long the client waits for an answer that must come, and for one that must not, in milliseconds. */
const PATIENCE = { open: 5000, closed: 800 } as const;

const REACH = {
  open: 'open',
  refused: 'refused, as if no program listened',
  silent: 'no answer, as if there were no host',
} as const;

export function witness({ client, families }: Stage, tell: Teller): Witness {
  const check: Witness['check'] = (step, claim, ok, seen = '') => {
    tell.step({ step, claim, seen, ok });
    if (!ok) throw new NotSeenError(`${step}: ${claim}${seen === '' ? '' : ` (seen: ${seen})`}`);
  };
  const visitOf = ({ server }: Addresses, port: number) => `client to ${server} port ${port}`;
  return {
    check,
    async isOpen(step, to, port, stay = false) {
      const visit = { address: to.server, port, patience: PATIENCE.open, stay };
      const { reach, greeting } = await client.call('visit', visit);
      check(step, visitOf(to, port), greeting === GREETING, greeting ? `"${greeting}"` : reach);
    },
    async areClosed(step, port, closed) {
      const patience = closed === 'drop' ? PATIENCE.closed : PATIENCE.open;
      const visits = families.map(async to => ({
        to,
        ...(await client.call('visit', { address: to.server, port, patience })),
      }));
      for (const { to, reach } of await Promise.all(visits))
        check(step, visitOf(to, port), reach === (closed === 'drop' ? 'silent' : 'refused'), REACH[reach]);
    },
    async goesOn(step) {
      const words = 'Still here?';
      const echo = await client.call('say', { text: words, patience: PATIENCE.open });
      check(step, `client says "${words}"`, echo === words, echo ? `comes back "${echo}"` : 'no answer');
    },
    async knock({ server }, knocks) {
      await client.call('knock', { address: server, knocks });
    },
  };
}
