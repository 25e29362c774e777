/** The state that a command may change: the kernel's ruleset, by nft, and a folder of files. */
import { readdirSync, readFileSync, rmSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { deserialize } from 'node:v8';
import { type ParseError, parse } from 'jsonc-parser';
import type { World } from '../kernel/world.ts';

/** A file that holds neither what was there before nor what should be there, but a part of it. */
export const DAMAGED = 'damaged';

export interface Saved {
  /** `nft list ruleset`, with what is in the sets. */
  readonly ruleset: string;
  /** By their paths in the folder. */
  readonly files: ReadonlyMap<string, Buffer>;
}

/** The same without the parts that time, chance and packets change. */
export interface State {
  /** The program, without the elements of state. */
  readonly rules: string;
  /** Clients that are in: `ssh_clients_ipv4 10.0.0.1`. */
  readonly clients: readonly string[];
  /** Whether tokens stand ready. */
  readonly tokens: boolean;
  readonly files: ReadonlyMap<string, string>;
}

export async function save(world: World): Promise<Saved> {
  const folder = dirname(world.configFile);
  const files = readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter(it => it.isFile() && !it.name.endsWith('.strace'))
    .map(it => join(it.parentPath, it.name));
  return {
    ruleset: await world.list(),
    files: new Map(files.map(path => [path.slice(folder.length + 1), readFileSync(path)])),
  };
}

/** Removes all of it: the ruleset and the files. */
export async function clear(world: World): Promise<void> {
  for (const path of (await save(world)).files.keys()) rmSync(join(dirname(world.configFile), path));
  await world.nft('flush ruleset');
}

export function stateOf({ ruleset, files }: Saved): State {
  const clients: string[] = [];
  let tokens = false;
  const blocks = ruleset.split(/\n\n|^table /m).map(block => {
    const [, name = ''] = /^\s*(?:set|map) (\w+) \{/m.exec(block) ?? [];
    const elements =
      /elements = \{([^}]*)\}/
        .exec(block)?.[1]
        ?.split(',')
        .map(it => it.trim()) ?? [];
    const isState = /flags .*timeout/.test(block);
    if (name === 'tokens') tokens = elements.length > 0;
    if (/_clients_/.test(name)) clients.push(...elements.map(it => `${name} ${it.split(' ')[0]}`));
    return block
      .replace(/elements = \{[^}]*\}/, isState ? '' : elements.sort().join('\n'))
      .replace(/packets \d+ bytes \d+/g, '')
      .split('\n')
      .map(line => line.trim())
      .filter(line => line !== '' && line !== '}')
      .join('\n');
  });
  return {
    rules: blocks.filter(Boolean).sort().join('\n'),
    clients: clients.sort(),
    tokens,
    files: new Map([...files].map(([path, bytes]) => [path, contentOf(path, bytes)])),
  };
}

/** The content of a file, without times and random numbers; {@link DAMAGED} if a reader could make no sense of it. */
function contentOf(path: string, bytes: Buffer): string {
  const name = path.split('/').at(-1) ?? '';
  const text = bytes.toString();
  try {
    switch (name) {
      case 'trial':
        deserialize(bytes.subarray(12));
        return name;
      case 'hold': {
        const { reason, until } = JSON.parse(text);
        return `${reason}${until === null ? '' : ' until then'}`;
      }
      case 'tried':
        return JSON.parse(text).is;
      case 'tokens.json': {
        JSON.parse(text);
        return name;
      }
      case 'revoked':
        for (const line of text.trim().split('\n')) JSON.parse(line);
        return name;
      case 'last-good.json':
      case 'knockd-nft.json': {
        const errors: ParseError[] = [];
        parse(text, errors, { allowTrailingComma: true });
        return errors.length > 0 ? DAMAGED : withoutChance(text);
      }
      default:
        return withoutChance(text);
    }
  } catch {
    return DAMAGED;
  }
}

/** Secrets and ports of knocks are random. */
export function withoutChance(text: string): string {
  return text
    .replace(/[0-9a-f]{64}/g, 'SECRET')
    .replace(/"\$schema": "[^"]*",/, '')
    .replace(/"sequence": \[[^\]]*\]/g, 'SEQUENCE')
    .replace(/("\w+"): \[[\d, ]+\]/g, '$1: KNOCKS');
}
