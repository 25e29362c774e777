import type { Expression } from '../nftables/expression.ts';
import { CT_KEYS } from '../nftables/expressions/ct.ts';
import { FIB_FLAGS, NFT_FIB_RESULT } from '../nftables/expressions/fib.ts';
import { META_KEYS } from '../nftables/expressions/meta.ts';
import { VERDICT } from '../nftables/register.ts';
import type { Data, Verdict } from '../nftables/verdict.ts';
import {
  type Bits,
  certain,
  compares,
  equals,
  guess,
  LIKELY,
  masked,
  not,
  UNKNOWN,
  UNLIKELY,
  vague,
} from './bits.ts';
import { type Decision, decides, GOES_ON, type Step, when } from './decision.ts';
import { loadCt, loadFib, loadMeta, loadPayload } from './loads.ts';
import { type Found, find } from './lookup.ts';
import type { Place } from './place.ts';
import type { Registers } from './registers.ts';
import type { ForeignSet } from './table.ts';
import { followVariant } from './variants.ts';

/** The effect of one expression on the packet. Loads change `registers`. */
export function follow(expression: Expression, place: Place): Step {
  const { packet, registers, written } = place;
  const load = (register: Parameters<Registers['load']>[0], bits: Bits | undefined): Step => {
    if (bits === undefined) return when(UNLIKELY);
    registers.load(register, bits);
    return GOES_ON;
  };
  switch (expression.kind) {
    case 'counter':
    case 'log':
    case 'objref':
      return GOES_ON;
    case 'limit':
      return when(LIKELY);
    case 'dynset':
      // it goes on unless the set is full; a meter in it lets the first packets pass
      return expression.limit ? when(LIKELY) : GOES_ON;
    case 'socket':
      return load(expression.dreg, vague(1));
    case 'payload':
      return load(expression.dreg, loadPayload(expression, packet));
    case 'meta':
      return 'dreg' in expression
        ? load(expression.dreg, loadMeta(META_KEYS[expression.key], packet, written))
        : GOES_ON;
    case 'ct':
      return load(expression.dreg, loadCt(CT_KEYS[expression.key], packet, written));
    case 'fib':
      return load(expression.dreg, loadFib(NFT_FIB_RESULT.ADDRTYPE, FIB_FLAGS[expression.result], packet));
    case 'bitwise': {
      const { sreg, dreg, mask } = expression;
      return load(dreg, masked(registers.read(sreg, mask.length), mask, Buffer.alloc(mask.length)));
    }
    case 'cmp': {
      const { sreg, op, value } = expression;
      return when(compare(op, registers.read(sreg, value.length), value));
    }
    case 'immediate':
      if ('verdict' in expression) return decide(expression.verdict);
      return load(expression.dreg, certain(expression.value));
    case 'reject':
      return decides({ does: 'reject' });
    case 'lookup':
      return lookUp(expression, place);
    case 'unknown':
      return followVariant(expression, place);
  }
}

const SIGNS = {
  lt: (sign: number) => sign < 0,
  lte: (sign: number) => sign <= 0,
  gt: (sign: number) => sign > 0,
  gte: (sign: number) => sign >= 0,
} as const;

function compare(op: 'eq' | 'neq' | keyof typeof SIGNS, bits: Bits, value: Buffer) {
  if (op === 'eq') return equals(bits, value);
  if (op === 'neq') return not(equals(bits, value));
  return compares(bits, value, SIGNS[op]);
}

function lookUp(
  { set, sreg, dreg, inverted }: Extract<Expression, { kind: 'lookup' }>,
  { registers, table, written }: Place,
): Step {
  const found = find(table.sets.get(set), size => registers.read(sreg, size));
  const { match, likely, possible } = written.has(table, set) ? unforetold(table.sets.get(set)) : found;
  if (dreg === undefined) return when(inverted ? not(match) : match);
  if (dreg === VERDICT)
    return {
      match,
      decisions: possible.map(element => ({
        decision: decisionOf(element.data),
        likely: element === likely,
      })),
    };
  const data = likely?.data ?? possible[0]?.data;
  if (Buffer.isBuffer(data)) {
    const one = possible.length === 1 && match.sure;
    registers.load(dreg, one ? certain(data) : likely ? guess(data) : vague(data.length));
  }
  return when(match);
}

/** Packets may have added any key, and keys may have expired. */
function unforetold(set: ForeignSet | undefined): Found {
  return { match: UNKNOWN, likely: undefined, possible: set?.elements ?? [] };
}

function decide(verdict: Verdict): Step {
  const decision = decisionOf(verdict);
  return decision.does === 'continue' ? GOES_ON : decides(decision);
}

function decisionOf(data: Data | undefined): Decision {
  if (data === undefined || Buffer.isBuffer(data)) return { does: 'unknown' };
  if ('chain' in data) return { does: data.code, chain: data.chain };
  return { does: data.code };
}
