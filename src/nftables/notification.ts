import { type AttributeReader, DecodeError } from '../netlink/attributes.ts';
import { messagesOf } from '../netlink/datagram.ts';
import { attributesOf, familyOf, NFPROTO } from '../netlink/nfnetlink.ts';
import { NFT_MSG } from './message.ts';
import { decodeGeneration } from './transaction.ts';

/** The multicast group for changes of the ruleset, include/uapi/linux/netfilter/nfnetlink.h. */
export const NFNLGRP_NFTABLES = 7;

/** The attribute that names the table, in each of these messages: NFTA_TABLE_NAME, NFTA_CHAIN_TABLE, NFTA_RULE_TABLE. */
const TABLE_NAME = 1;
const PUTS: ReadonlySet<number> = new Set([NFT_MSG.NEWTABLE, NFT_MSG.NEWCHAIN, NFT_MSG.NEWRULE]);
const TAKES: ReadonlySet<number> = new Set([NFT_MSG.DELTABLE, NFT_MSG.DELCHAIN, NFT_MSG.DELRULE]);

/**
 * Finds the commits that only remove parts of a table of family inet: the table itself, chains or rules. The kernel notifies of each
 * object of a commit, and then of the generation that the commit made.
 */
export class Losses {
  #takes = false;
  #puts = false;

  /** The generations of such commits that end in this datagram. It skips what it cannot read. */
  in(datagram: Buffer, table: string): number[] {
    const generations: number[] = [];
    for (const { type, payload } of messagesOf(datagram)) {
      if (type === NFT_MSG.NEWGEN) {
        if (this.#takes && !this.#puts) generations.push(decodeGeneration(payload));
        this.#takes = false;
        this.#puts = false;
      } else if (PUTS.has(type)) this.#puts ||= isOf(table, payload);
      else if (TAKES.has(type)) this.#takes ||= isOf(table, payload);
    }
    return generations;
  }
}

function isOf(table: string, payload: Buffer): boolean {
  try {
    return familyOf(payload) === NFPROTO.INET && nameIn(attributesOf(payload)) === table;
  } catch (error) {
    if (!(error instanceof DecodeError || error instanceof RangeError)) throw error;
    return false;
  }
}

function nameIn(reader: AttributeReader): string | undefined {
  while (reader.next()) if (reader.type === TABLE_NAME) return reader.string();
  return undefined;
}
