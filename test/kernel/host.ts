/** The agent's requests, and `Host`: one typed call for each, from the test to the agent in that host. */
import type { ChildProcessWithoutNullStreams } from 'node:child_process';
import { calleeIn } from '../../src/demo/calls.ts';
import type { Answer, Captured, ControlMessage, Packet, Protocol, Seen } from './packet.ts';

/** How a TCP connection attempt, or a datagram, ended. */
export type Reach = 'open' | 'refused' | 'silent' | 'unreachable';

export interface ReachOptions {
  /** An address of this host; its usual one by default. */
  readonly from?: string;
  readonly localPort?: number;
  /**
   * Milliseconds until it counts as silent. The default is 400, which is less than Linux waits to send a SYN again; 800 for
   * `udp`, since a program must answer; and 5,000 for `open`, which must succeed.
   */
  readonly timeout?: number;
  /** By multipath TCP, where the other side speaks it. */
  readonly multipath?: boolean;
  /** By Fast Open: the first text that is sent goes with the SYN if this host has a cookie. It counts as connected at once. */
  readonly fastOpen?: boolean;
}

export interface ListenOptions {
  readonly protocol?: Protocol;
  /** `::` by default, which is both families. */
  readonly address?: string;
  /** False for a TCP listener that never accepts. Its queue takes `backlog` + 1 connections. */
  readonly accept?: boolean;
  readonly backlog?: number;
  /** Takes connections of multipath TCP, and plain ones. */
  readonly multipath?: boolean;
  /** Takes TCP connections to any address and port that TPROXY gives it. */
  readonly transparent?: boolean;
}

export interface KnockOptions {
  /** Any address, because knocks are raw packets. */
  readonly from?: string;
  /** Milliseconds between two knocks; none by default. */
  readonly gap?: number;
}

/**
 * Consecutive addresses. For more than a few, take addresses that the server has to route (198.18.0.0/15, 2001:db8::/32): the
 * machine shares the kernel's table of neighbours.
 */
export interface Sources {
  readonly first: string;
  readonly count: number;
}

export interface FloodOptions {
  readonly to: string;
  /** Ports such as `10000/tcp`, in turn. Each source gets the whole list before the next source. */
  readonly knocks: readonly string[];
  /** The data of each knock; none by default. */
  readonly payloads?: readonly string[];
  readonly sources?: Sources;
  /** Packets in all. */
  readonly count: number;
  /** Packets a second; by default as fast as possible. */
  readonly rate?: number;
}

export interface SweepOptions {
  readonly address: string;
  readonly order?: 'rising' | 'falling' | 'shuffled';
  readonly protocol?: Protocol;
  /** How often to go through all 65,535 ports; once by default. */
  readonly rounds?: number;
  readonly from?: string;
  /** The seed of the shuffling, which differs for each round. */
  readonly seed?: number;
}

export interface Sent {
  readonly packets: number;
  readonly seconds: number;
}

export interface CaptureOptions {
  readonly from?: string;
  readonly protocol?: Seen['protocol'];
  /** The port that it comes from or goes to. */
  readonly port?: number;
}

export interface RelayOptions {
  /** The destination of the knocks. Whatever comes goes on as an empty SYN or datagram. */
  readonly to: string;
  /** How many packets to pass on before it ends. */
  readonly count: number;
  /** The longest time to keep one, in milliseconds. */
  readonly delay: number;
}

/** Every request: its parameters and its result, both as JSON. */
export interface Requests {
  readonly connect: [ReachOptions & { address: string; port: number }, Reach];
  readonly open: [ReachOptions & { address: string; port: number }, number];
  readonly say: [{ session: number; text: string; timeout: number }, 'alive' | 'dead'];
  readonly hangUp: [{ session: number }, null];
  readonly udp: [ReachOptions & { address: string; port: number; payload: string }, string];
  readonly listen: [ListenOptions & { port: number }, { listener: number; port: number }];
  readonly arrived: [{ listener: number }, number];
  readonly unlisten: [{ listener: number }, null];
  readonly knock: [KnockOptions & { address: string; knocks: readonly string[] }, null];
  readonly send: [{ packets: readonly Packet[] }, Sent];
  readonly control: [{ messages: readonly ControlMessage[] }, Sent];
  readonly frames: [{ from: string; frames: readonly string[] }, null];
  readonly flood: [FloodOptions, Sent];
  readonly sweep: [SweepOptions, Sent];
  readonly capture: [CaptureOptions, number];
  readonly endCapture: [{ capture: number; milliseconds: number }, readonly Captured[]];
  readonly relay: [RelayOptions, null];
  readonly probe: [{ packet: Packet; timeout: number }, Answer];
  readonly ask: [{ packet: Packet; timeout: number }, Seen | null];
}

/** A TCP connection that stays open. */
export interface Session {
  /** Sends `text` to an echo server: `alive` if it came back, `dead` if not within `timeout` (5000 ms). */
  send(text: string, timeout?: number): Promise<'alive' | 'dead'>;
  close(): Promise<void>;
}

export interface Listener {
  readonly port: number;
  /** How many connections it has accepted, or datagrams received, so far. */
  arrived(): Promise<number>;
  close(): Promise<void>;
}

/** It listens until its end. */
export interface Capture {
  /** Returns what came, and what else comes within so many milliseconds (400). Call it when all has been sent. */
  end(milliseconds?: number): Promise<readonly Captured[]>;
}

/** A host of the world, seen from the test: what it sends, and what it sees. */
export interface Host {
  /** Tries to connect by TCP, and ends the connection at once. */
  connect(address: string, port: number, options?: ReachOptions): Promise<Reach>;
  /** A TCP connection that stays. Rejects if it cannot be made. */
  open(address: string, port: number, options?: ReachOptions): Promise<Session>;
  /** Sends a datagram. Returns the text of the answer, or `refused`, `silent`, `unreachable`. */
  udp(address: string, port: number, payload: string, options?: ReachOptions): Promise<string>;
  /** Listens on TCP or UDP, in both families, and echoes. */
  listen(port: number, options?: ListenOptions): Promise<Listener>;
  /** One raw SYN or one empty datagram for each of `knocks` (`10000/tcp`), in order, never sent again. */
  knock(address: string, knocks: readonly string[], options?: KnockOptions): Promise<void>;
  send(packets: readonly Packet[]): Promise<Sent>;
  /** Sends ICMP, ICMPv6 and IGMP. */
  control(messages: readonly ControlMessage[]): Promise<Sent>;
  /** Sends Ethernet frames from an interface, `eth0` by default. */
  frames(frames: readonly Uint8Array[], from?: string): Promise<void>;
  flood(options: FloodOptions): Promise<Sent>;
  /** Sends a SYN or a datagram to each port. */
  sweep(options: SweepOptions): Promise<Sent>;
  /** Listens for what comes in. It has begun when this resolves, so nothing that is sent later is missed. */
  capture(options?: CaptureOptions): Promise<Capture>;
  /** A router for knocks that keeps each for a random time, up to `delay`. Resolves after the last of `count`. */
  relay(options: RelayOptions): Promise<void>;
  /** The first answer to one packet, or `none` within `timeout` (300 ms). */
  probe(packet: Packet, timeout?: number): Promise<Answer>;
  /** The packet that answers one packet, or null if none does within `timeout` (300 ms). */
  ask(packet: Packet, timeout?: number): Promise<Seen | null>;
  /** Ends the agent, with its listeners and sessions. */
  end(): Promise<void>;
}

/** Talks to the agent that runs as `child`. Errors mention `name`. */
export function hostFor(name: string, child: ChildProcessWithoutNullStreams): Host {
  const { call, end } = calleeIn<Requests>(name, child);
  return {
    connect: (address, port, options) => call('connect', { ...options, address, port }),
    async open(address, port, options) {
      const session = await call('open', { ...options, address, port });
      return {
        send: (text, timeout = 5000) => call('say', { session, text, timeout }),
        close: async () => void (await call('hangUp', { session })),
      };
    },
    udp: (address, port, payload, options) => call('udp', { ...options, address, port, payload }),
    async listen(port, options) {
      const made = await call('listen', { ...options, port });
      const { listener } = made;
      return {
        port: made.port,
        arrived: () => call('arrived', { listener }),
        close: async () => void (await call('unlisten', { listener })),
      };
    },
    knock: async (address, knocks, options) => void (await call('knock', { ...options, address, knocks })),
    send: packets => call('send', { packets }),
    control: messages => call('control', { messages }),
    frames: async (frames, from = 'eth0') =>
      void (await call('frames', { from, frames: frames.map(frame => Buffer.from(frame).toString('hex')) })),
    flood: options => call('flood', options),
    sweep: options => call('sweep', options),
    async capture(options = {}) {
      const capture = await call('capture', options);
      return { end: (milliseconds = 400) => call('endCapture', { capture, milliseconds }) };
    },
    relay: async options => void (await call('relay', options)),
    probe: (packet, timeout = 300) => call('probe', { packet, timeout }),
    ask: (packet, timeout = 300) => call('ask', { packet, timeout }),
    end,
  };
}
