/** The sets of tokens in the kernel: reads and fills them. */

import { isOfThisBoot } from '../host/clock.ts';
import { collectGarbage } from '../host/memory.ts';
import type { Connection } from '../netlink/connection.ts';
import { NetlinkError } from '../netlink/errors.ts';
import type { Change } from '../nftables/change.ts';
import { deleteElements, flushSet, newElements, newElementsOf } from '../nftables/element.ts';
import type { Element, Ruleset } from '../nftables/ruleset.ts';
import { START } from '../ruleset/automaton.ts';
import { host32 } from '../ruleset/match.ts';
import { TOKEN_SETS } from '../ruleset/sets.ts';
import { usedTimeout } from '../ruleset/token-chains.ts';
import { handleOf, readElement, readElements } from '../table/read.ts';
import type { Writer } from '../table/writer.ts';
import { TOKEN_LENGTH } from '../token/read.ts';
import type { Feed, Ready } from './feed-plan.ts';
import type { Ledger } from './ledger.ts';

/** Whether the kernel has the tokens that the ledger calls fed. The table may be another one, and others may flush the map. */
export async function isThere(connection: Connection, table: string, { fed }: Ledger): Promise<boolean> {
  if (!fed || !isOfThisBoot(fed.boot) || (await handleOf(connection, table)) !== fed.table) return false;
  return (await readElement(connection, table, TOKENS.name, elementOf(fed.id).key)) !== undefined;
}

/** The map of tokens, and the set of used ones. */
const [TOKENS, USED] = TOKEN_SETS;

/** Whether a table of ours has them. */
export function hasTokens({ sets }: Ruleset): boolean {
  return sets.some(({ name }) => name === TOKENS.name);
}

/** The tokens in the kernel's own set of used ones. */
export async function readUsed(connection: Connection, table: string): Promise<string[]> {
  return (await readElements(connection, table, USED)).map(({ key }) => key.toString('latin1'));
}

/** After how many transactions to free memory. A top-up has fewer. */
const COLLECT = 16;

/** Carries out a feed in transactions of about a thousand tokens, which fit into any send buffer. */
export async function commitFeed(
  writer: Writer,
  table: string,
  { flush, removed, used, ready, fed }: Feed,
  hours: number,
): Promise<void> {
  await removeTokens(writer, table, removed);
  // used ones come before or with the others, the nearest windows with the first
  const parts = newElementsOf(table, TOKENS, elementsOf(ready));
  const { value: first } = parts.next();
  await writer.putTokens(table, [
    ...(flush
      ? [
          flushSet(table, TOKENS),
          ...newElements(table, TOKENS, [{ ...elementOf(fed.id), data: host32(START) }]),
        ]
      : []),
    ...blocking(table, used, hours),
    ...(first ? [first] : []),
  ]);
  let sent = 0;
  for (const part of parts) {
    await writer.putTokens(table, [part]);
    if (++sent % COLLECT === 0) collectGarbage();
  }
}

/** All share one buffer, since each is written at once. In buffers of their own they would outlive some collections. */
function* elementsOf(ready: Iterable<Ready>): Generator<Element> {
  const key = Buffer.alloc(TOKEN_LENGTH);
  const data = Buffer.alloc(4);
  for (const { token, place, timeout } of ready) {
    key.write(token, 'latin1');
    data.set(host32(place));
    yield { key, data, timeout };
  }
}

/** Keeps tokens from opening, as if they had been used. */
export function blocking(table: string, tokens: readonly string[], hours: number): Change[] {
  const timeout = usedTimeout(hours);
  return newElements(
    table,
    USED,
    tokens.map(token => ({ ...elementOf(token), timeout })),
  );
}

function elementOf(token: string): Element {
  return { key: Buffer.from(token, 'latin1') };
}

/** How many tokens a transaction takes out. It fits into any send buffer. */
const BATCH = 1024;

/** Some of them may be gone. A transaction that deletes one of those fails, and then we try its halves. */
async function removeTokens(writer: Writer, table: string, tokens: readonly string[]): Promise<void> {
  for (let first = 0; first < tokens.length; first += BATCH) {
    const part = tokens.slice(first, first + BATCH);
    try {
      await writer.putTokens(table, deleteElements(table, TOKENS, part.map(elementOf)));
    } catch (error) {
      if (!(error instanceof NetlinkError) || error.code !== 'ENOENT') throw error;
      const half = part.length >> 1;
      if (half === 0) continue;
      await removeTokens(writer, table, part.slice(0, half));
      await removeTokens(writer, table, part.slice(half));
    }
  }
}

/** Takes all tokens out, and leaves the set of used ones. */
export function flushTokens(writer: Writer, table: string): Promise<void> {
  return writer.putTokens(table, [flushSet(table, TOKENS)]);
}
