import type { Closed } from '../config/types.ts';
import { NFTA_XT } from '../firewalls/fields.ts';
import type { Family } from '../inet/family.ts';
import type { Protocol } from '../inet/protocol.ts';
import { AttributeReader, DecodeError } from '../netlink/attributes.ts';
import type { Expression, Unknown } from '../nftables/expression.ts';
import { NFTA_REJECT } from '../nftables/expressions/reject.ts';
import type { Rule } from '../nftables/ruleset.ts';

/** The answer of a closed port: none, the kernel's own for a closed port, or ICMP of another kind. */
export type Look = 'silence' | 'closed' | 'prohibited' | 'other ICMP';

/** Lower is more alike: 0 for the same packets, 1 for the same word in a port scanner, 2 for something else. */
export function unlikeness(closed: Closed, look: Look): 0 | 1 | 2 {
  return UNLIKENESS[closed][look];
}

const UNLIKENESS = {
  drop: { silence: 0, closed: 2, prohibited: 2, 'other ICMP': 2 },
  reject: { silence: 2, closed: 0, prohibited: 2, 'other ICMP': 2 },
  prohibited: { silence: 2, closed: 2, prohibited: 0, 'other ICMP': 1 },
} as const satisfies Record<Closed, Record<Look, 0 | 1 | 2>>;

/** The answer of a rule that rejects; undefined if we cannot tell. */
export function lookOfReject({ expressions }: Rule, family: Family, protocol: Protocol): Look | undefined {
  for (const expression of expressions) {
    const answer = answerOf(expression, family);
    if (answer === 'tcp reset') return protocol === 'tcp' ? 'closed' : undefined;
    if (answer === 'port unreachable') return protocol === 'udp' ? 'closed' : 'other ICMP';
    if (answer !== undefined) return answer;
  }
  return undefined;
}

type Answer = 'tcp reset' | 'port unreachable' | 'prohibited' | 'other ICMP';

function answerOf(expression: Expression, family: Family): Answer | undefined {
  if (expression.kind === 'reject')
    return expression.with === 'admin prohibited' ? 'prohibited' : expression.with;
  if (expression.kind !== 'unknown') return undefined;
  try {
    if (expression.name === 'reject') return answerOfReject(expression, family);
    return expression.name === 'target' ? answerOfTarget(expression, family) : undefined;
  } catch (error) {
    if (error instanceof DecodeError || error instanceof RangeError) return undefined;
    throw error;
  }
}

/** Codes of "destination unreachable" in ICMP (RFC 792, RFC 1812) and ICMPv6 (RFC 4443). */
const CODES: Readonly<Record<Family, Readonly<Record<number, Answer>>>> = {
  ipv4: { 3: 'port unreachable', 13: 'prohibited' },
  ipv6: { 4: 'port unreachable', 1: 'prohibited' },
};

/** Variants that we never write. Type 0 carries the ICMP code of the family. */
function answerOfReject({ raw }: Unknown, family: Family): Answer {
  const reader = new AttributeReader(raw);
  let [type, code] = [-1, -1];
  while (reader.next()) {
    if (reader.type === NFTA_REJECT.TYPE) type = reader.be32();
    else if (reader.type === NFTA_REJECT.ICMP_CODE) code = reader.u8();
  }
  return type === 0 ? (CODES[family][code] ?? 'other ICMP') : 'other ICMP';
}

/** enum ipt_reject_with and ip6t_reject_with of include/uapi/linux/netfilter_ipv{4,6}/ip{,6}t_REJECT.h */
const REJECT_WITH: Readonly<Record<Family, Readonly<Record<number, Answer>>>> = {
  ipv4: { 3: 'port unreachable', 7: 'tcp reset', 8: 'prohibited' },
  ipv6: { 1: 'prohibited', 4: 'port unreachable', 6: 'tcp reset' },
};

function answerOfTarget({ raw }: Unknown, family: Family): Answer | undefined {
  const reader = new AttributeReader(raw);
  let name = '';
  let info = Buffer.alloc(0);
  while (reader.next()) {
    if (reader.type === NFTA_XT.NAME) name = reader.string();
    else if (reader.type === NFTA_XT.INFO) info = Buffer.from(reader.bytes());
  }
  if (name !== 'REJECT') return undefined;
  return REJECT_WITH[family][info.readUInt32LE(0)] ?? 'other ICMP';
}
