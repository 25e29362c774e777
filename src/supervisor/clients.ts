import { clientId, type KnownClient, openedAt } from '../table/clients.ts';

/** What somebody did by hand, with `grant` and `revoke` or with another program. */
export interface ByHand {
  readonly granted: readonly KnownClient[];
  readonly revoked: readonly KnownClient[];
}

/** How far what is remembered may be from what the kernel has, in milliseconds. */
const SLACK = 1000;

/** Who is in, as far as it is known: the kernel says who was opened to, and is read after each change of the ruleset. */
export class Clients {
  #in = new Map<string, KnownClient>();
  #seen = 0;

  get size(): number {
    return this.#in.size;
  }

  all(): readonly KnownClient[] {
    return [...this.#in.values()];
  }

  /** When the kernel was last read. */
  get seen(): number {
    return this.#seen;
  }

  opened(client: KnownClient): void {
    this.#in.set(clientId(client), client);
  }

  forgetExpired(now: number): void {
    for (const [id, { until }] of this.#in) if (until !== null && until <= now) this.#in.delete(id);
  }

  /**
   * Takes over what was read from the kernel. `begun` is when the reading began: who was opened to since then may not be
   * among what was read, and stays.
   */
  replace(read: readonly KnownClient[], begun: number): ByHand {
    this.#seen = begun;
    const before = this.#in;
    this.#in = new Map(read.map(client => [clientId(client), client]));
    const granted = read.filter(client => client.granted && isLonger(client, before.get(clientId(client))));
    const revoked: KnownClient[] = [];
    for (const [id, client] of before) {
      if (this.#in.has(id)) continue;
      if (openedAt(client) >= begun) this.#in.set(id, client);
      else if (client.until === null || client.until > begun + SLACK) revoked.push(client);
    }
    return { granted, revoked };
  }
}

function isLonger({ until }: KnownClient, before: KnownClient | undefined): boolean {
  if (!before) return true;
  return before.until !== null && (until === null || until > before.until + SLACK);
}
