import type { Context } from './context.ts';

/** Options of single commands, by commander's names for them. */
export interface Options {
  readonly lastGood?: boolean;
  readonly reload?: boolean;
  readonly first?: boolean;
  readonly next?: boolean;
  readonly force?: boolean;
  readonly for?: string;
  readonly all?: boolean;
  readonly cut?: boolean;
  readonly id?: string;
  readonly after?: string;
  /** Of `init` several, of `page` one. */
  readonly service?: readonly string[] | string;
  readonly knocks?: string;
  readonly allow?: readonly string[];
  readonly yes?: boolean;
  readonly check?: boolean;
  readonly nft?: boolean;
  readonly interval?: string;
  readonly gap?: string;
  readonly wait?: string | true;
  readonly timeout?: string;
  readonly trace?: string;
  readonly host?: string;
  readonly realm?: string;
  readonly port?: string;
  readonly secretFile?: string;
  readonly url?: string;
  readonly openFor?: string;
  readonly tokens?: string;
  readonly sequence?: boolean;
  readonly page?: string;
  readonly qr?: boolean;
  readonly atOnce?: string;
}

/** Headings of the help. */
type Group =
  | 'The configuration'
  | 'The kernel'
  | 'Clients'
  | 'Safe changes'
  | 'For other programs'
  | "The client's side"
  | 'More';

/** A command as the help shows it. Its code is loaded only when it is called. */
export interface CommandSpec {
  readonly group: Group;
  /** Name and arguments, in commander's notation. */
  readonly usage: string;
  readonly description: string;
  /** For the list of all commands, if the description does not fit into a line. */
  readonly summary?: string;
  readonly example: string;
  /** An option without a description is for this program itself, and the help does not show it. */
  readonly options?: readonly (readonly [flags: string, description?: string])[];
  /** The command is for this program itself and its companions, and the help does not show it. */
  readonly hidden?: true;
  /** The command also runs on other systems than Linux, and without the native parts: it is for clients or files. */
  readonly anywhere?: true;
  /** The exit status of a failure that has none of its own; 1 by default. */
  readonly failed?: number;
  /** The command prints as it goes on, and ends with this status when nobody reads that any more. */
  readonly unread?: number;
  /** Gets the words after the command, without options. Returns the exit status. */
  readonly run: (context: Context, options: Options, words: readonly string[]) => Promise<number>;
}
