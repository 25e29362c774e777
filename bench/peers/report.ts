/** The results of the measurements: plain values, kept between the run and the page, by the name of a rival's host. */

export interface Spread {
  readonly median: number;
  /** The lower and the upper quartile. */
  readonly quartiles: readonly [number, number];
  readonly n: number;
}

export interface Delay {
  /** From the last packet to the first accepted connection, in milliseconds, of those that got in. */
  readonly opened: Spread;
  readonly p95: number;
  /** How many first attempts failed, of `opened.n`. */
  readonly failedFirst: number;
  /** Attempts that failed, in the median, when one begins every 2 ms. */
  readonly failed: number;
  /** How many did not get in. */
  readonly never: number;
  /** One call of connect() right after the last packet, which the kernel repeats after a second, in milliseconds. */
  readonly connect: Spread;
}

export interface Rate {
  /** Thousands of packets a second. */
  readonly wanted: number;
  readonly reached: Spread;
  /** Nanoseconds of CPU for a packet: sender, wire, and all that the receiver's kernel does. */
  readonly nanoseconds: Spread;
  /** Of the daemon, in percent of a core; undefined without a daemon. */
  readonly daemon?: Spread;
}

export interface Growth {
  readonly services: number;
  /** Milliseconds until it guards. */
  readonly load: Spread;
  /** Of the daemon, in MiB; undefined without one. */
  readonly pss?: number;
  /** The kernel's memory for rules and sets, in MiB. */
  readonly kernel: Spread;
  /** Nanoseconds for a packet: the lower decile of many rounds. */
  readonly unrelated: number;
  readonly running: number;
}

export interface Flood {
  readonly wanted: number;
  /** Packets a second. */
  readonly reached: number;
  /** How many clients got in, of how many. */
  readonly in: number;
  readonly of: number;
  /** The median of those that got in, milliseconds from the last packet. */
  readonly opened: number;
  /** Of the daemon, in percent of a core, and its memory before and after in MiB. */
  readonly daemon?: { readonly share: number; readonly before: number; readonly after: number };
}

export const TRICKS = {
  own: 'its own packets',
  rising: 'a sweep of all ports, rising',
  three: 'three such sweeps',
  shuffled: 'ten sweeps, shuffled',
  replay: 'the same packets once more, from another address',
  again: 'the same packets once more, from the same address, after the port has shut again',
  twice: 'each packet twice',
  swapped: 'two packets swapped',
  between: 'a wrong port between two knocks',
} as const;
export type Trick = keyof typeof TRICKS;

export interface Report {
  readonly date: string;
  readonly machine: string;
  /** The machine's load average over a minute, at the start and at the end. */
  readonly load: readonly [number, number];
  readonly seconds: number;
  readonly versions: Readonly<Record<string, string>>;
  readonly rivals: readonly { readonly host: string; readonly name: string; readonly how: string }[];
  /** The measurements that could not be made, and why. */
  readonly skipped: readonly string[];
  readonly delay: Readonly<Record<string, Delay>>;
  readonly rates: Readonly<Record<string, readonly Rate[]>>;
  readonly growth: Readonly<Record<string, readonly Growth[]>>;
  readonly flood: Readonly<Record<string, readonly Flood[]>>;
  readonly opens: Readonly<Record<string, Readonly<Partial<Record<Trick, boolean>>>>>;
}
