import type { Family } from '../inet/family.ts';
import type { Protocol } from '../inet/protocol.ts';
import { type PortClasses, portClasses } from './classes.ts';
import { pass, type Visit } from './journey.ts';
import { answering, arriving, type Interface } from './packet.ts';
import type { ForeignTable } from './table.ts';

/** The destination of a packet. */
export interface Destination {
  readonly family: Family;
  readonly protocol: Protocol;
  readonly port: number;
}

/** The way of a client's first packet to a program of this host. */
interface Arrival {
  /** Its visits to all chains, as if none stopped it. The chains of `input` count only if it is still for this host. */
  readonly visits: readonly Visit[];
  /** The visit that changes its destination. */
  readonly translation: Visit | undefined;
}

/** Foretells arrivals. It does so once for all ports that the rules treat alike. */
export class Foresight {
  readonly #tables: readonly ForeignTable[];
  readonly #classes: PortClasses;
  readonly #arrivals = new Map<string, Arrival>();
  readonly #answers = new Map<string, readonly Visit[]>();

  constructor(tables: readonly ForeignTable[]) {
    this.#tables = tables;
    this.#classes = portClasses(tables);
  }

  /** One port of each class that the rules tell apart. */
  get ports(): readonly number[] {
    return this.#classes.firsts;
  }

  arrival(to: Destination, way: Interface): Arrival {
    return once(this.#arrivals, this.#key(to, way), () => {
      const { visits, packet, translation } = pass(this.#tables, 'prerouting', arriving(to, way));
      if (!packet.local) return { visits, translation };
      const after = pass(this.#tables, 'input', packet);
      return { visits: [...visits, ...after.visits], translation: translation ?? after.translation };
    });
  }

  /** The visits of the host's answer to chains. */
  answers(to: Destination, way: Interface): readonly Visit[] {
    return once(
      this.#answers,
      this.#key(to, way),
      () => pass(this.#tables, 'output', answering(to, way)).visits,
    );
  }

  #key({ family, protocol, port }: Destination, { name }: Interface): string {
    return `${family} ${protocol} ${this.#classes.of(port)} ${name}`;
  }
}

function once<T>(known: Map<string, T>, key: string, make: () => T): T {
  const before = known.get(key);
  if (before !== undefined) return before;
  const made = make();
  known.set(key, made);
  return made;
}
