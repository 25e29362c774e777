/**
 * The data plane in plain words: what a client may rely on, without places, registers or sets. A client's position is the list
 * of knocks that it made.
 */

import type { Config, Service } from '../../src/config/types.ts';
import type { Port } from '../../src/inet/port.ts';
import { type Packet, TCP } from './machine.ts';

/** How far a client is. */
export interface Position {
  readonly knocks: readonly Port[];
  /** When it expires, in milliseconds. */
  readonly until: number;
}

/** An opening of a service for a client. */
export interface Opening {
  readonly user: string | null;
  readonly until: number;
}

const SHOWN = {
  drop: { tcp: 'drop', udp: 'drop' },
  reject: { tcp: 'reset', udp: 'unreachable' },
  prohibited: { tcp: 'prohibited', udp: 'prohibited' },
} as const;

export type Seen = 'accept' | 'drop' | 'reset' | 'unreachable' | 'prohibited';

const same = (a: Port | undefined, b: Port | undefined) => a?.protocol === b?.protocol && a?.port === b?.port;
const startsWith = (knocks: readonly Port[], beginning: readonly Port[]) =>
  beginning.every((knock, index) => same(knock, knocks[index]));

export class Model {
  now = 0;
  wrongKnocks = 0;
  readonly opened = new Map<string, number>();
  readonly accepted = new Map<string, number>();
  readonly refused = new Map<string, number>();
  readonly #config: Config;
  readonly #positions = new Map<string, Position>();
  readonly #openings = new Map<string, Opening>();
  /** Until when connections that were let in count: those whose SYN may come again, and all. */
  readonly #syns = new Map<string, number>();
  readonly #admitted = new Map<string, number>();

  constructor(config: Config) {
    this.#config = config;
    for (const counts of [this.opened, this.accepted, this.refused])
      for (const { name } of config.services) counts.set(name, 0);
  }

  position(client: string): Position | undefined {
    const position = this.#positions.get(client);
    return position && position.until > this.now ? position : undefined;
  }

  opening(service: string, client: string): Opening | undefined {
    const opening = this.#openings.get(`${service} ${client}`);
    return opening && opening.until > this.now ? opening : undefined;
  }

  /** The answer that the sender sees. `isKnock` says whether the packet counted as a knock. */
  receive(packet: Packet): { readonly seen: Seen; readonly isKnock: boolean } {
    const { hook, interfaces, policy, services } = this.#config;
    const pass = (seen: Seen) => ({ seen, isKnock: false });
    // established traffic and loopback are never looked at
    if (packet.ctState === 'established' && !opens(packet)) {
      this.#goesOn(packet);
      return pass('accept');
    }
    if (packet.iif === 'lo') return pass('accept');
    if (interfaces.length > 0 && !interfaces.some(pattern => matches(packet.iif, pattern)))
      return pass('accept');

    const service = services.find(({ ports }) => ports.some(range => isIn(packet, range)));
    // a source that may go anywhere needs no opening; before DNAT only guards are asked
    if (policy === 'drop' && (hook === 'input' || !service) && this.#isExempt(packet)) return pass('accept');
    if (service) return pass(this.#visit(service, packet));
    if (this.#config.public.some(range => isIn(packet, range))) return pass('accept');
    if (this.#sequences().some(({ knocks }) => knocks.some(knock => same(knock, portOf(packet))))) {
      const isKnock = isNewToUs(packet);
      if (isKnock) this.#knock(packet);
      return { seen: policy, isKnock }; // a knock port answers as its neighbours do
    }
    if (packet.ctState === 'related') return pass('accept');
    // both ends open the same connection at once
    if (policy === 'drop' && packet.ctState === 'established' && packet.ctReply) return pass('accept');
    const isStray =
      (packet.protocol === 'tcp' || packet.protocol === 'udp') && isNewToUs(packet) && !packet.listener;
    if (this.#config.strict && isStray) this.#positions.delete(this.client(packet)); // a stray ends the sequence
    return pass(policy);
  }

  /** The client that a packet is from: the part of the address that `prefix` says. */
  client({ family, saddr }: Pick<Packet, 'family' | 'saddr'>): string {
    const bits = saddr.length * 8;
    const network = BigInt(`0x${saddr.toString('hex')}`) >> BigInt(bits - this.#config.prefix[family]);
    return `${family} ${network.toString(16)}`;
  }

  /** The knocks that would take the client one step on. */
  nextKnocks(client: string): Port[] {
    const made = this.position(client)?.knocks ?? [];
    return this.#sequences().flatMap(({ knocks }) => (startsWith(knocks, made) && knocks[made.length]) || []);
  }

  #sequences() {
    return this.#config.services.flatMap(service =>
      service.sequences.map(({ user, knocks }) => ({ service, user, knocks })),
    );
  }

  #knock(packet: Packet): void {
    const client = this.client(packet);
    const knock = portOf(packet);
    const made = this.position(client)?.knocks ?? [];
    if (this.#advance(client, [...made, knock])) return;
    if (made.some(earlier => same(earlier, knock))) return; // a knock made before is ignored
    this.wrongKnocks++; // a wrong knock may still be a first one
    this.#positions.delete(client);
    this.#advance(client, [knock]);
  }

  /** Takes the client to its next position, or lets it in after the last knock; false if no sequence begins so. */
  #advance(client: string, knocks: readonly Port[]): boolean {
    const through = this.#sequences().filter(sequence => startsWith(sequence.knocks, knocks));
    if (through.length === 0) return false;
    const whole = through.find(sequence => sequence.knocks.length === knocks.length);
    if (whole) {
      const { service, user } = whole;
      this.#positions.delete(client);
      this.#openings.set(`${service.name} ${client}`, { user, until: this.now + service.openFor });
      count(this.opened, service);
    } else {
      const timeout = Math.max(...through.map(({ service }) => service.knockTimeout));
      this.#positions.set(client, { knocks, until: this.now + timeout });
    }
    return true;
  }

  /** The fate of a packet to a guarded port. */
  #visit(service: Service, packet: Packet): Seen {
    const client = this.client(packet);
    const shown = SHOWN[service.closed][packet.protocol === 'tcp' ? 'tcp' : 'udp'];
    const { addressType } = packet;
    const unheard = shown === 'reset' ? addressType !== 'local' : addressType === 'broadcast';
    const closed = unheard ? 'drop' : shown;
    const isIn = this.opening(service.name, client) !== undefined;
    const isKnown = packet.ctStatusConfirmed && packet.ctState !== 'invalid';
    if (packet.protocol === 'udp' && isKnown && addressType !== 'broadcast') return 'accept';
    if (this.#isExempt(packet)) return 'accept';
    if (!isIn || (packet.protocol === 'tcp' && !isCleanSyn(packet))) {
      count(this.refused, service);
      return closed;
    }
    if (service.singleUse) this.#openings.delete(`${service.name} ${client}`);
    count(this.accepted, service);
    if (packet.protocol === 'tcp') {
      this.#syns.set(connectionOf(packet), this.now + 75_000);
      this.#admitted.set(connectionOf(packet), this.now + 5 * 24 * 3600 * 1000);
    }
    return 'accept';
  }

  /** Whether a packet needs no opening: the file allows it, or its connection was let in. */
  #isExempt(packet: Packet): boolean {
    if (this.#isAllowed(packet)) return true;
    if (packet.protocol !== 'tcp') return false;
    const id = connectionOf(packet);
    if (opens(packet)) {
      const halfOpen = packet.ctState !== 'invalid' && packet.ctStatusConfirmed && !packet.ctStatusAssured;
      return halfOpen && (this.#syns.get(id) ?? 0) > this.now;
    }
    const goesOn = packet.hasPeer || (this.#admitted.get(id) ?? 0) > this.now;
    if (goesOn) this.#goesOn(packet);
    return goesOn;
  }

  #goesOn(packet: Packet): void {
    if (packet.protocol !== 'tcp') return;
    // tracking knows that the handshake is over, and takes that back of no flow: its SYN never counts again
    if (packet.ctStatusAssured && !(packet.tcpFlags & (TCP.fin | TCP.syn | TCP.rst))) return;
    this.#syns.delete(connectionOf(packet));
    if (packet.tcpFlags & (TCP.fin | TCP.rst)) this.#admitted.delete(connectionOf(packet));
  }

  #isAllowed({ family, saddr }: Packet): boolean {
    const value = (bytes: Uint8Array) => BigInt(`0x${Buffer.from(bytes).toString('hex')}`);
    return this.#config.allow.some(network => {
      const shift = BigInt(network.address.length * 8 - network.length);
      return network.family === family && value(network.address) >> shift === value(saddr) >> shift;
    });
  }
}

function count(counts: Map<string, number>, { name }: Service): void {
  counts.set(name, (counts.get(name) ?? 0) + 1);
}

function connectionOf({ family, saddr, sport, dport }: Packet): string {
  return `${family} ${saddr.toString('hex')} ${sport} ${dport}`;
}

/** TCP that begins a connection, whatever tracking says. */
function opens({ protocol, tcpFlags }: Packet): boolean {
  return protocol === 'tcp' && (tcpFlags & (TCP.syn | TCP.ack)) === TCP.syn;
}

function portOf({ protocol, dport }: Packet): Port {
  return { protocol: protocol === 'udp' ? 'udp' : 'tcp', port: dport };
}

function isIn(
  { protocol, dport }: Packet,
  range: { readonly protocol: string; readonly first: number; readonly last: number },
): boolean {
  return range.protocol === protocol && range.first <= dport && dport <= range.last;
}

function matches(name: string, pattern: string): boolean {
  return pattern.endsWith('*') ? name.startsWith(pattern.slice(0, -1)) : name === pattern;
}

/** Whether it is a valid packet to an address of ours that no helper expects, and with TCP a SYN alone. */
function isNewToUs(packet: Packet): boolean {
  return (
    packet.ctState !== 'invalid' &&
    packet.ctState !== 'related' &&
    packet.addressType === 'local' &&
    (packet.protocol !== 'tcp' || isCleanSyn(packet))
  );
}

function isCleanSyn({ tcpFlags }: Packet): boolean {
  return (tcpFlags & (TCP.fin | TCP.syn | TCP.rst | TCP.ack)) === TCP.syn;
}
