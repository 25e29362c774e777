import { deserialize, serialize } from 'node:v8';
import type { Config } from '../config/types.ts';
import { build } from '../version.ts';

/**
 * The configuration of the last load, as it was compiled, in one piece of memory. The thread of the next load compiles it again
 * instead of reading our table, if it is exactly the same program: a package may have put another in its place.
 */
export interface Kept {
  readonly config: Uint8Array;
  readonly build: string | undefined;
}

/** The same, and the generation of the kernel's ruleset while our table is as that load made it. */
export interface Former extends Kept {
  readonly generation: number;
}

export function keepConfig(config: Config): Kept {
  return { config: serialize(config), build };
}

/** Undefined if another program made the load, or one that cannot be told from others. */
export function recalled(
  former: Former,
  own = build,
): { readonly generation: number; readonly config: Config } | undefined {
  if (own === undefined || former.build !== own) return undefined;
  return { generation: former.generation, config: deserialize(former.config) as Config };
}
