import type { Problem } from '../config/problems.ts';
import type { Config } from '../config/types.ts';
import type { Interface } from '../firewalls/packet.ts';
import type { ForeignTable } from '../firewalls/table.ts';
import type { Unseen } from '../firewalls/unseen.ts';
import type { Hold, RunningSupervisor, Trouble } from '../host/hold.ts';
import type { Looked } from '../host/interfaces.ts';
import type { Listener } from '../host/listeners.ts';
import type { Unreadable } from '../host/readable.ts';
import type { Family } from '../inet/family.ts';
import type { Network } from '../inet/network.ts';
import type { PortRange } from '../inet/port.ts';
import type { Flush } from './flushes.ts';

/** Everything that the checks depend on, read once. */
export interface Facts {
  readonly file: FileFacts;
  /** undefined if the file is of no use. */
  readonly config: Config | undefined;
  readonly kernel: KernelFacts;
  readonly service: ServiceFacts;
  readonly host: HostFacts;
  /** undefined if no user has one-time tokens. */
  readonly tokens: TokenFacts | undefined;
}

/** The other facts that tokens depend on. Times are in milliseconds of the epoch. */
export interface TokenFacts {
  readonly now: number;
  readonly clock: 'fine' | 'unsynchronized' | 'waits';
  /** The folder for used tokens, if it is not writable as far as we can tell. */
  readonly folder: { readonly path: string; readonly why: string } | undefined;
  /** When the last fed token ends; undefined if that is not known. */
  readonly until: number | undefined;
}

/** The configuration file. */
export interface FileFacts {
  readonly path: string;
  /** Permission bits, and the owner's number; undefined if there is no file. */
  readonly mode: number | undefined;
  readonly owner: number | undefined;
  /** The number of the user who runs doctor. */
  readonly user: number;
  readonly problems: readonly Problem[];
  /** Files of secrets that it names. */
  readonly secretFiles: readonly string[];
  /** Why the services cannot read it, or one of those, though root can. */
  readonly unreadable: Unreadable | undefined;
}

/** The kernel's answer about nf_tables, or why there is none. */
export type KernelFacts =
  | { readonly is: 'not permitted' }
  | { readonly is: 'absent'; readonly reason: string }
  | {
      readonly is: 'read';
      /** The features that the kernel lacks, in words. */
      readonly lacking: readonly string[];
      /** The kernel can be asked for TCP connections, and can end them. */
      readonly canCut: boolean;
      readonly table: TableFacts;
      readonly tables: readonly ForeignTable[];
      /** What else packets pass. */
      readonly unseen: readonly Unseen[];
      /** Tables of family `bridge` that have the kernel track frames. */
      readonly trackingBridges: readonly string[];
      readonly clients: readonly ClientIn[];
    };

/** A client that a service of our table lets in now. */
export interface ClientIn {
  readonly service: string;
  readonly ports: readonly PortRange[];
  readonly family: Family;
  /** 4 or 16 bytes, of which the first `length` bits are the client. */
  readonly address: Buffer;
  readonly length: number;
  /** Other programs' sets that were too large to be read, and hold its address: `inet f2b-table addr-set-sshd`. */
  readonly lists: readonly string[];
}

/** Our own table. */
export interface TableFacts {
  /** `foreign`: there is one of that name without our mark. */
  readonly is: 'loaded' | 'not loaded' | 'foreign';
  /** null if there is no configuration to compare with. */
  readonly inSync: boolean | null;
}

/** The programs and units that keep the table in place. */
export interface ServiceFacts {
  readonly supervisor: RunningSupervisor | undefined;
  readonly hold: Hold | undefined;
  /** Tasks that the supervisor cannot do at present. */
  readonly troubles: readonly Trouble[];
  /** undefined if systemd does not run, or not for this network namespace. */
  readonly systemd: SystemdFacts | undefined;
  /** The reader of the NFLOG group; undefined if there is none, or if we cannot tell. */
  readonly groupOwner: 'supervisor' | 'other' | undefined;
}

export interface SystemdFacts {
  /** Whether our units are there. */
  readonly installed: boolean;
  /** Whether the loader starts at boot. */
  readonly enabled: boolean;
  readonly flushes: readonly Flush[];
}

/** The host around the table. */
export interface HostFacts {
  readonly release: string;
  /** All interfaces but the loopback. */
  readonly interfaces: readonly HostInterface[];
  /** The interfaces here that the configuration's `interfaces` mean. */
  readonly looked: Looked;
  /** The interfaces that clients likely come in by. */
  readonly ways: readonly Interface[];
  /** Families with addresses there that others can reach. */
  readonly families: readonly Family[];
  /** undefined if they cannot be read. */
  readonly listeners: readonly Listener[] | undefined;
  /** The ports that the kernel gives to programs that ask for any. */
  readonly ephemeral: { readonly first: number; readonly last: number };
  /** How many connections are tracked, and how many may be. */
  readonly conntrack: { readonly count: number; readonly max: number } | undefined;
  /** Settings that are on: `net.ipv4.fwmark_reflect`. */
  readonly switches: ReadonlySet<string>;
  /** Tables of iptables-legacy, which no other program can read: `ip filter`. */
  readonly legacyTables: readonly string[];
}

export interface HostInterface extends Interface {
  /** The networks of its addresses. */
  readonly networks: readonly Network[];
}
