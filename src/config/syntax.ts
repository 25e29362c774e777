import { type ParseErrorCode, printParseErrorCode, visit } from 'jsonc-parser';
import type { Position } from './problems.ts';

/** A value of the file, with its place. */
export type Node =
  | { readonly kind: 'object'; readonly at: Position; readonly members: readonly Member[] }
  | { readonly kind: 'array'; readonly at: Position; readonly items: readonly Node[] }
  | { readonly kind: 'string'; readonly at: Position; readonly value: string }
  | { readonly kind: 'number'; readonly at: Position; readonly value: number }
  | { readonly kind: 'boolean'; readonly at: Position; readonly value: boolean }
  | { readonly kind: 'null'; readonly at: Position };

export interface Member {
  readonly name: string;
  readonly at: Position;
  readonly value: Node;
  /** The place of the same key earlier in this object. That is an error, because JSON readers disagree on which one counts. */
  readonly duplicateOf: Position | null;
}

export type Tree = { readonly root: Node } | { readonly at: Position; readonly wrong: string };

/** Far more than any configuration has. jsonc-parser descends recursively, and the stack is limited. */
const MAX_DEPTH = 64;

const EXPECTATIONS: Readonly<Record<string, string>> = {
  InvalidSymbol: 'unknown word; expected a string in double quotes, a number, true or false',
  InvalidNumberFormat: 'this is no number; expected a decimal number',
  PropertyNameExpected: 'expected a key in double quotes or "}"',
  ValueExpected: 'expected a value',
  ColonExpected: 'expected ":" after the key',
  CommaExpected: 'expected "," before this',
  EndOfFileExpected: 'expected nothing more after the end of the object',
  UnexpectedEndOfComment: 'this comment does not end; expected "*/"',
  UnexpectedEndOfString: 'this string does not end on its line; expected a closing quote',
  UnexpectedEndOfNumber: 'this number breaks off; expected a digit',
  InvalidUnicode: 'a "\\u" in this string is wrong; expected four hexadecimal digits after it',
  InvalidEscapeCharacter: 'unknown escape in this string; expected \\" \\\\ \\/ \\b \\f \\n \\r \\t or \\u',
  InvalidCharacter: 'control character in this string; expected an escape such as \\t',
};

/** Thrown and caught only here, because jsonc-parser would go on after an error. */
class Stop {
  readonly at: Position;
  readonly wrong: string;

  constructor(at: Position, wrong: string) {
    this.at = at;
    this.wrong = wrong;
  }
}

/** Reads JSON with comments and trailing commas. It stops at the first error. */
export function parseTree(text: string): Tree {
  if (text.startsWith('\uFEFF')) {
    return { at: { line: 1, column: 1 }, wrong: 'a byte order mark; expected UTF-8 without one' };
  }
  if (text.trim() === '') {
    return { at: { line: 1, column: 1 }, wrong: 'the file is empty; expected an object, { … }' };
  }
  try {
    return { root: build(text) };
  } catch (error) {
    if (error instanceof Stop) return { at: error.at, wrong: error.wrong };
    throw error;
  }
}

/** An object or array whose end has not been read yet. */
type Open =
  | {
      readonly kind: 'object';
      readonly at: Position;
      readonly members: Member[];
      readonly seen: Map<string, Position>;
      key: { readonly name: string; readonly at: Position };
    }
  | { readonly kind: 'array'; readonly at: Position; readonly items: Node[] };

function build(text: string): Node {
  const open: Open[] = [];
  let root: Node | undefined;
  let ended: Open | undefined; // jsonc-parser ends a container before it reports the missing bracket

  function place(node: Node): void {
    const parent = open.at(-1);
    if (parent === undefined) root ??= node;
    else if (parent.kind === 'array') parent.items.push(node);
    else parent.members.push(member(parent.key, node, parent.seen));
  }

  function begin(container: Open): void {
    if (open.length === MAX_DEPTH)
      throw new Stop(container.at, `nested too deeply; expected at most ${MAX_DEPTH} levels`);
    place(container);
    open.push(container);
  }

  function end(): void {
    ended = open.pop();
  }

  visit(
    text,
    {
      onObjectBegin(_offset, _length, line, character) {
        const at = position(line, character);
        begin({ kind: 'object', at, members: [], seen: new Map(), key: { name: '', at } });
      },
      onArrayBegin(_offset, _length, line, character) {
        begin({ kind: 'array', at: position(line, character), items: [] });
      },
      onObjectEnd: end,
      onArrayEnd: end,
      onObjectProperty(name, _offset, _length, line, character) {
        const parent = open.at(-1);
        if (parent?.kind === 'object') parent.key = { name, at: position(line, character) };
      },
      onLiteralValue(value, _offset, _length, line, character) {
        place(literal(value, position(line, character)));
      },
      onError(code, offset, _length, line, character) {
        const unfinished =
          offset < text.length
            ? undefined
            : printParseErrorCode(code).startsWith('Close')
              ? ended
              : open.at(-1);
        throw new Stop(position(line, character), expectation(code, unfinished));
      },
    },
    { allowTrailingComma: true },
  );

  if (root === undefined) throw new Error('jsonc-parser gave neither a value nor an error');
  return root;
}

/** jsonc-parser counts from 0. */
function position(line: number, character: number): Position {
  return { line: line + 1, column: character + 1 };
}

function member(key: { name: string; at: Position }, value: Node, seen: Map<string, Position>): Member {
  const duplicateOf = seen.get(key.name) ?? null;
  if (duplicateOf === null) seen.set(key.name, key.at);
  return { name: key.name, at: key.at, value, duplicateOf };
}

function literal(value: unknown, at: Position): Node {
  if (typeof value === 'string') return { kind: 'string', at, value };
  if (typeof value === 'number') return { kind: 'number', at, value };
  if (typeof value === 'boolean') return { kind: 'boolean', at, value };
  return { kind: 'null', at };
}

/** `unfinished` is the object or array that the end of the file leaves open. */
function expectation(code: ParseErrorCode, unfinished: Open | undefined): string {
  if (unfinished === undefined) return EXPECTATIONS[printParseErrorCode(code)] ?? 'this is no JSON';
  const [begin, end] = unfinished.kind === 'object' ? '{}' : '[]';
  return `the file ends too early; expected "${end}" for the "${begin}" in line ${unfinished.at.line}`;
}
