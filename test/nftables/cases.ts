/**
 * The bytes that our encoders write, beside those that nft 1.0.6 sends for the same words. Taken from
 * `unshare -nm nft --debug=mnl -f FILE`, whose rows were put together again; each rule stood in
 *
 *     table inet t {
 *       counter hits { }
 *       chain c2 { }
 *       map started { type ipv4_addr : mark; size 65535; flags dynamic,timeout; }
 *       set clients { type ipv4_addr; size 65535; flags dynamic,timeout; }
 *       set clients6 { type ipv6_addr; size 65535; flags dynamic,timeout; }
 *       set sessions { type ipv4_addr . inet_service . inet_service; flags timeout; }
 *       set sessions6 { type ipv6_addr . inet_service . inet_service; flags timeout; }
 *       set connections { type ipv4_addr . inet_service . inet_service; size 65535; flags dynamic,timeout; }
 *       set allowed { type ipv4_addr; flags interval; }
 *       map steps { type mark . inet_proto . inet_service : mark; }
 *       map arrivals { type mark : verdict; }
 *       map ports { type inet_proto . inet_service : verdict; }
 *       chain c { type filter hook input priority 0; RULE }
 *     }
 */

import t from 'tap';
import { AttributeReader, AttributeWriter } from '../../src/netlink/attributes.ts';
import { DATATYPES } from '../../src/nftables/datatype.ts';
import { readExpressions, writeExpressions } from '../../src/nftables/expression.ts';
import { VERDICT } from '../../src/nftables/register.ts';
import type { NftSet, Rule } from '../../src/nftables/ruleset.ts';
import { ruleText } from '../../src/nftables/text.ts';
import { bytesOf, dump, linesOf } from '../dump.ts';

export const hex = (text: string) => Buffer.from(text.replaceAll(' ', ''), 'hex');

/** The reasons why some of our bytes differ from nft's. The kernel makes the same of both. */
export const SET_ID =
  'nft also gives the number that a set has within the batch; ours finds all sets by their name';
export const OPERATION =
  'nft leaves the operation out where it makes the mask itself (ct state, prefixes); 0 is the default';
export const LEVEL = 'nft gives a level of 0, which only sockets of cgroups have';
export const NUL = 'our strings end in NUL everywhere';
export const ORDER = 'ours has the attributes in the order of their numbers';
export const FORMAT =
  'nft also keeps the format of concatenations, and that data are no ranges, in the userdata of sets';

export interface Difference {
  readonly nft: string;
  readonly ours: string;
  readonly because: string;
}

interface Case {
  readonly nft: string;
  /** Our words, where they are others with the same meaning. */
  readonly words?: string;
  readonly expressions: Rule['expressions'];
  /** One for each expression. */
  readonly bytes: readonly (string | Difference)[];
}

const set = (name: string, more: Partial<NftSet>): [string, NftSet] => [
  name,
  { name, types: [], dynamic: false, timeout: false, interval: false, ...more },
];
const { ipv4_addr, ipv6_addr, mark, inet_proto, inet_service } = DATATYPES;
export const SETS = new Map([
  set('started', { types: [ipv4_addr], data: mark }),
  set('clients', { types: [ipv4_addr] }),
  set('clients6', { types: [ipv6_addr] }),
  set('sessions', { types: [ipv4_addr, inet_service, inet_service] }),
  set('connections', { types: [ipv4_addr, inet_service, inet_service] }),
  set('sessions6', { types: [ipv6_addr, inet_service, inet_service] }),
  set('allowed', { types: [ipv4_addr] }),
  set('steps', { types: [mark, inet_proto, inet_service], data: mark }),
  set('arrivals', { types: [mark], data: VERDICT }),
  set('ports', { types: [inet_proto, inet_service], data: VERDICT }),
]);

/** The bytes of an attribute list with these expressions, without the header of the list. */
export function encode(expressions: Rule['expressions']): Buffer {
  const writer = new AttributeWriter();
  writeExpressions(writer, 4, expressions);
  return writer.finish().subarray(4);
}

export const decode = (bytes: Buffer) => readExpressions(new AttributeReader(bytes));

/** Two tests for each rule: its bytes, and what is read from them. */
export function testCases(cases: readonly Case[]): void {
  for (const { nft, words, expressions, bytes } of cases) {
    t.test(`"${nft}" becomes the bytes that nft makes of it`, t => {
      for (const [index, expected] of bytes.entries()) {
        const ours = dump(encode(expressions.slice(index, index + 1)));
        if (typeof expected === 'string') t.strictSame(ours, linesOf(expected));
        else {
          t.strictSame(ours, linesOf(expected.ours), expected.because);
          t.notSame(linesOf(expected.nft), linesOf(expected.ours));
        }
      }
      t.equal(expressions.length, bytes.length);
      t.end();
    });

    t.test(`"${nft}" is read back from the bytes that nft made, and said in its words`, t => {
      const theirs = bytes.map(part => bytesOf(typeof part === 'string' ? part : part.nft));
      t.strictSame(decode(Buffer.concat(theirs)), expressions);
      t.equal(ruleText({ expressions }, SETS), words ?? nft);
      t.end();
    });
  }
}
