/** TCP connections made of single packets, so that a client can do what no kernel would. */
import type { Flag, Packet, Seen } from './packet.ts';
import type { World } from './world.ts';

/** A wrong TCP MD5 signature (RFC 2385). TCP drops such a segment in silence, but tracking accepts it. */
const SIGNED = `1312${'00'.repeat(16)}0101`;

/** How to leave a connection, or its handshake, to see what an opening is worth to a client that tries everything. */
export const endings = [
  'open',
  'reset',
  'closed',
  'ended in its handshake',
  'reset in its handshake',
  'reset, and acknowledged once more',
] as const;
export type Ending = (typeof endings)[number];

type Dress = Pick<Packet, 'flags' | 'payload'>;
const PLAIN: Dress = { flags: ['syn'] };

/** SYNs with different flags and data. */
export const syns: readonly Dress[] = [
  PLAIN,
  { flags: ['syn', 'ece', 'cwr'] },
  { flags: ['syn', 'psh'], payload: 'data' },
  { flags: ['syn', 'urg'] },
  { flags: ['syn', 'fin'] },
  { flags: ['syn', 'rst'] },
];

/** One client's side of one connection at a time, from a fixed port. */
export class RawConnection {
  readonly #world: World;
  readonly #tuple: Pick<Packet, 'protocol' | 'to' | 'port' | 'sourcePort'>;
  #sequence: number;
  /** The sequence number that it expects from the server. */
  #next = 0;

  constructor(world: World, to: string, port: number, sourcePort: number) {
    this.#world = world;
    this.#tuple = { protocol: 'tcp', to, port, sourcePort };
    this.#sequence = 0x1000_0000 + sourcePort * 16;
  }

  /** A SYN unlike all before. */
  newSyn(dress: Dress = PLAIN): Packet {
    this.#sequence = (this.#sequence + 0x0100_0000) >>> 0;
    return this.sameSyn(dress);
  }

  /** The last SYN once more. */
  sameSyn(dress: Dress = PLAIN): Packet {
    return { ...this.#tuple, ...dress, sequence: this.#sequence };
  }

  /** A segment that tracking accepts and TCP drops. */
  acknowledgment(): Packet {
    return { ...this.#segment(['ack']), options: SIGNED };
  }

  /** Sends such a SYN. Returns whether the answer was SYN and ACK. */
  async syn(packet = this.newSyn()): Promise<boolean> {
    const seen = await this.#ask(packet);
    if (!seen?.flags.includes('syn')) return false;
    this.#next = (seen.sequence + 1) >>> 0;
    return true;
  }

  /** Begins a connection, and leaves it in that state. */
  async leave(ending: Ending): Promise<boolean> {
    if (!(await this.syn())) return false;
    switch (ending) {
      case 'ended in its handshake': {
        const answer = await this.#ask(this.#segment(['fin', 'ack']));
        if (answer?.flags.includes('fin')) this.#next = (answer.sequence + 1) >>> 0;
        this.#sequence++;
        await this.#send(['ack']);
        break;
      }
      case 'reset in its handshake':
        await this.#send(['rst']);
        break;
      case 'open':
        await this.#send(['ack']);
        break;
      case 'reset':
        await this.#send(['ack']);
        await this.#send(['rst', 'ack']);
        break;
      case 'closed': {
        await this.#send(['ack']);
        const answer = await this.#ask(this.#segment(['fin', 'ack']));
        if (answer?.flags.includes('fin')) this.#next = (answer.sequence + 1) >>> 0;
        this.#sequence++;
        await this.#send(['ack']);
        break;
      }
      case 'reset, and acknowledged once more':
        await this.#send(['ack']);
        await this.#send(['rst', 'ack']);
        await this.#world.host('client').send([this.acknowledgment()]);
        break;
    }
    return true;
  }

  #segment(flags: readonly Flag[]): Packet {
    const sequence = (this.#sequence + 1) >>> 0;
    return { ...this.#tuple, flags, sequence, acknowledgment: this.#next };
  }

  async #send(flags: readonly Flag[]): Promise<void> {
    await this.#world.host('client').send([this.#segment(flags)]);
  }

  #ask(packet: Packet): Promise<Seen | null> {
    return this.#world.host('client').ask(packet);
  }
}

/** Keeps the client's own kernel, which does not know connections made by hand, from resetting them. */
export async function makeByHand(world: World): Promise<void> {
  const input = `table inet by_hand {
  chain output {
    type filter hook output priority 0
    meta skuid != 4294967295 accept
    tcp sport 40000-49999 tcp flags rst drop
  }
}`;
  const { status, stderr } = await world.run('client', 'nft', ['-f', '-'], { input });
  if (status !== 0) throw new Error(stderr);
}
