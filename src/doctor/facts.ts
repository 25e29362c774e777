import type { Problem } from '../config/problems.ts';
import type { Config, Family, PortRange } from '../config/types.ts';
import type { Interface } from '../firewalls/packet.ts';
import type { ForeignTable } from '../firewalls/table.ts';
import type { Unseen } from '../firewalls/unseen.ts';
import type { Hold, RunningSupervisor, Trouble } from '../host/hold.ts';
import type { Looked } from '../host/interfaces.ts';
import type { Listener } from '../host/listeners.ts';
import type { Flush } from './flushes.ts';

/** All that the checks go by, read once. */
export interface Facts {
  readonly file: FileFacts;
  /** undefined where the file cannot be used. */
  readonly config: Config | undefined;
  readonly kernel: KernelFacts;
  readonly service: ServiceFacts;
  readonly host: HostFacts;
  /** undefined where nobody has one-time tokens. */
  readonly tokens: TokenFacts | undefined;
}

/** What tokens depend on, besides. Times in milliseconds of the epoch. */
export interface TokenFacts {
  readonly now: number;
  readonly clock: 'fine' | 'unsynchronized' | 'waits';
  /** The folder where used ones are kept, if it cannot be written, as far as it can be told. */
  readonly folder: { readonly path: string; readonly why: string } | undefined;
  /** When the last one ends that was fed; undefined where that is not known. */
  readonly until: number | undefined;
}

/** The configuration file. */
export interface FileFacts {
  readonly path: string;
  /** Permission bits, and the owner's number; undefined where there is no file. */
  readonly mode: number | undefined;
  readonly owner: number | undefined;
  /** Of the user who asks. */
  readonly user: number;
  readonly problems: readonly Problem[];
}

/** What the kernel told of nf_tables, or why it did not. */
export type KernelFacts =
  | { readonly is: 'not permitted' }
  | { readonly is: 'absent'; readonly reason: string }
  | {
      readonly is: 'read';
      /** What the kernel lacks, in words. */
      readonly lacking: readonly string[];
      readonly table: TableFacts;
      readonly tables: readonly ForeignTable[];
      /** What packets meet besides. */
      readonly unseen: readonly Unseen[];
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
  /** Sets of others that were too large to be read, and hold its address: `inet f2b-table addr-set-sshd`. */
  readonly lists: readonly string[];
}

/** Our own table. */
export interface TableFacts {
  /** `foreign`: there is one of that name without our mark. */
  readonly is: 'loaded' | 'not loaded' | 'foreign';
  /** null where there is no configuration to compare with. */
  readonly inSync: boolean | null;
}

/** What keeps the table in place. */
export interface ServiceFacts {
  readonly supervisor: RunningSupervisor | undefined;
  readonly hold: Hold | undefined;
  /** What the supervisor cannot do at present. */
  readonly troubles: readonly Trouble[];
  /** undefined where systemd does not run, or not for this network namespace. */
  readonly systemd: SystemdFacts | undefined;
  /** Who reads the NFLOG group; undefined where nobody does, or it cannot be told. */
  readonly groupOwner: 'supervisor' | 'other' | undefined;
}

export interface SystemdFacts {
  /** Our units are there. */
  readonly installed: boolean;
  /** The loader is started at boot. */
  readonly enabled: boolean;
  readonly flushes: readonly Flush[];
}

/** The host around it. */
export interface HostFacts {
  readonly release: string;
  /** All but the loopback. */
  readonly interfaces: readonly HostInterface[];
  /** What the configuration's `interfaces` come to here. */
  readonly looked: Looked;
  /** Where clients likely come in. */
  readonly ways: readonly Interface[];
  /** Families of which it has addresses there that others can reach. */
  readonly families: readonly Family[];
  /** undefined where they cannot be read. */
  readonly listeners: readonly Listener[] | undefined;
  /** Ports that the kernel gives to programs that ask for any. */
  readonly ephemeral: { readonly first: number; readonly last: number };
  /** Connections that are tracked, and how many may be. */
  readonly conntrack: { readonly count: number; readonly max: number } | undefined;
  /** Settings that are on: `net.ipv4.fwmark_reflect`. */
  readonly switches: ReadonlySet<string>;
  /** Tables of iptables-legacy, which only it can read: `ip filter`. */
  readonly legacyTables: readonly string[];
}

export interface HostInterface extends Interface {
  /** Its addresses and the networks that they are of: `172.17.0.1/16`. */
  readonly networks: readonly string[];
}
