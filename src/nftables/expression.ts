import { type AttributeReader, type AttributeWriter, required } from '../netlink/attributes.ts';
import { type Bitwise, bitwise } from './expressions/bitwise.ts';
import { type Cmp, cmp } from './expressions/cmp.ts';
import { type Codec, NFTA_EXPR } from './expressions/codec.ts';
import { type Counter, counter } from './expressions/counter.ts';
import { type Ct, ct } from './expressions/ct.ts';
import { type Dynset, dynset } from './expressions/dynset.ts';
import { type Fib, fib } from './expressions/fib.ts';
import { type Immediate, immediate } from './expressions/immediate.ts';
import { type Limit, limit } from './expressions/limit.ts';
import { type Log, log } from './expressions/log.ts';
import { type Lookup, lookup } from './expressions/lookup.ts';
import { type Meta, meta } from './expressions/meta.ts';
import { type Objref, objref } from './expressions/objref.ts';
import { type Payload, payload } from './expressions/payload.ts';
import { type Reject, reject } from './expressions/reject.ts';
import { type Socket, socket } from './expressions/socket.ts';
import { NFTA_LIST_ELEM } from './message.ts';
import type { RuleText } from './rule-text.ts';

/** One step of a rule. Its `kind` is the kernel's name for it. */
export type Expression =
  | Bitwise
  | Cmp
  | Counter
  | Ct
  | Dynset
  | Fib
  | Immediate
  | Limit
  | Log
  | Lookup
  | Meta
  | Objref
  | Payload
  | Reject
  | Socket
  | Unknown;

/** An expression, or a variant of one, that this program never writes. It is kept as the kernel gave it. */
export interface Unknown {
  readonly kind: 'unknown';
  readonly name: string;
  readonly raw: Buffer;
}

type Kind = Exclude<Expression['kind'], 'unknown'>;

const CODECS: { readonly [K in Kind]: Codec<Extract<Expression, { kind: K }>> } = {
  bitwise,
  cmp,
  counter,
  ct,
  dynset,
  fib,
  immediate,
  limit,
  log,
  lookup,
  meta,
  objref,
  payload,
  reject,
  socket,
};

const UNKNOWN: Codec<Unknown> = {
  encode(writer, { raw }) {
    writer.raw(raw);
  },
  decode: () => undefined,
  text({ name }, rule) {
    rule.say(`# ${name}`);
  },
};

// The table pairs each kind with its own codec. TypeScript cannot follow that through a computed key.
function codecOf(kind: string): Codec<Expression> {
  return (Object.hasOwn(CODECS, kind) ? CODECS[kind as Kind] : UNKNOWN) as Codec<Expression>;
}

export function writeExpressions(
  writer: AttributeWriter,
  type: number,
  expressions: readonly Expression[],
): void {
  const list = writer.open(type);
  for (const expression of expressions) {
    const element = writer.open(NFTA_LIST_ELEM);
    writer.string(NFTA_EXPR.NAME, expression.kind === 'unknown' ? expression.name : expression.kind);
    const data = writer.open(NFTA_EXPR.DATA);
    codecOf(expression.kind).encode(writer, expression);
    writer.close(data);
    writer.close(element);
  }
  writer.close(list);
}

export function readExpressions(reader: AttributeReader): Expression[] {
  const expressions: Expression[] = [];
  while (reader.next()) {
    const bytes = reader.buffer.toString('latin1', reader.offset, reader.offset + reader.size);
    const expression = KNOWN.get(bytes) ?? readExpression(reader.nested());
    if (KNOWN.size >= MOST_KNOWN) KNOWN.clear();
    KNOWN.set(bytes, expression);
    expressions.push(expression);
  }
  return expressions;
}

/**
 * Expressions by their bytes. Most expressions of a thousand services are alike, and without a compiler a look-up here takes
 * a fraction of the time of decoding.
 */
const KNOWN = new Map<string, Expression>();
const MOST_KNOWN = 1000;

function readExpression(element: AttributeReader): Expression {
  let name: string | undefined;
  let data: Buffer = Buffer.alloc(0);
  let nest: AttributeReader | undefined;
  while (element.next()) {
    if (element.type === NFTA_EXPR.NAME) name = element.string();
    else if (element.type === NFTA_EXPR.DATA) {
      data = element.bytes();
      nest = element.nested();
    }
  }
  const kind = required(name, 'expression name');
  return (nest && codecOf(kind).decode(nest)) ?? { kind: 'unknown', name: kind, raw: data };
}

/** Whether the kernel would treat both alike. */
export function sameExpression(a: Expression, b: Expression): boolean {
  return sameValue(a, b);
}

function sameValue(a: unknown, b: unknown): boolean {
  if (a === b) return true;
  if (typeof a !== 'object' || typeof b !== 'object' || a === null || b === null) return false;
  if (Buffer.isBuffer(a)) return Buffer.isBuffer(b) && a.equals(b);
  const keys = Object.keys(a);
  return (
    keys.length === Object.keys(b).length &&
    keys.every(key => sameValue(a[key as keyof typeof a], b[key as keyof typeof b]))
  );
}

/** Adds the words of the expression to those of its rule. */
export function expressionText(expression: Expression, rule: RuleText): void {
  codecOf(expression.kind).text(expression, rule);
}
