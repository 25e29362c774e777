/** Bundles a target with all that it imports, and counts in it which branches are taken. */
import { createRequire } from 'node:module';
import { fileURLToPath } from 'node:url';
import { type Node, parse } from 'acorn';
import { full } from 'acorn-walk';
import { build } from 'esbuild';

/** Returns if the value was read, or refused with a reason. Throws for a fault. */
export type Target = (data: Buffer) => void | Promise<void>;

/** The exports of a file in targets/. */
export interface TargetModule {
  readonly fuzz: Target;
  /** Good inputs, from which to begin. */
  readonly seeds: readonly (Buffer | string)[];
}

export interface Instrumented extends TargetModule {
  /** How often each branch was taken since the caller set it to 0. It counts modulo 256. */
  readonly counters: Uint8Array;
  /** Texts and numbers of the code, which it may compare inputs with. */
  readonly words: readonly Buffer[];
}

/** @param name of a file in targets/, without its ending */
export async function instrumented(name: string): Promise<Instrumented> {
  const { outputFiles } = await build({
    entryPoints: [targetPath(name)],
    bundle: true,
    write: false,
    platform: 'node',
    format: 'cjs',
    mainFields: ['module', 'main'],
    external: ['koffi', 'netlink'],
    logLevel: 'silent',
  });
  const { code, branches, words } = withCounters(outputFiles[0]?.text ?? '');
  const counters = new Uint8Array(branches);
  const module = { exports: {} as TargetModule };
  const run = new Function('require', 'module', 'exports', '__taken', code);
  run(createRequire(import.meta.url), module, module.exports, counters);
  const { fuzz, seeds } = module.exports;
  return { fuzz, seeds, counters, words };
}

/** Of the compiled file. */
export function targetPath(name: string): string {
  return fileURLToPath(new URL(`./targets/${name}.js`, import.meta.url));
}

/** The parts of acorn's nodes that are used here. */
interface Branching extends Node {
  readonly body?: Node | readonly Node[];
  readonly consequent?: Node | readonly Node[];
  readonly alternate?: Node | null;
  readonly right?: Node;
  readonly value?: unknown;
}

/** The code with a counter at the beginning of each branch. */
function withCounters(source: string): {
  readonly code: string;
  readonly branches: number;
  readonly words: readonly Buffer[];
} {
  const insertions: { readonly at: number; readonly text: string }[] = [];
  const words = new Map<string, Buffer>();
  let branches = 0;
  const count = () => `__taken[${branches++}]++`;
  const inBlock = (at: number) => insertions.push({ at, text: `${count()};` });
  const around = (node: Node, open: string, close: string) =>
    insertions.push({ at: node.start, text: open }, { at: node.end, text: close });
  const statement = (node: Node | null | undefined) => {
    if (!node) return;
    if (node.type === 'BlockStatement') inBlock(node.start + 1);
    else around(node, `{${count()};`, '}');
  };
  const expression = (node: Node | null | undefined) => node && around(node, `(${count()},`, ')');
  full(parse(source, { ecmaVersion: 'latest' }), found => {
    const node = found as Branching;
    const { body, consequent, alternate, right } = node;
    switch (node.type) {
      case 'FunctionDeclaration':
      case 'FunctionExpression':
      case 'ArrowFunctionExpression':
        if (!isList(body) && body?.type === 'BlockStatement') inBlock(body.start + 1);
        else if (!isList(body)) expression(body);
        break;
      case 'IfStatement':
        if (!isList(consequent)) statement(consequent);
        statement(alternate);
        break;
      case 'ForStatement':
      case 'ForOfStatement':
      case 'ForInStatement':
      case 'WhileStatement':
      case 'DoWhileStatement':
        if (!isList(body)) statement(body);
        break;
      case 'CatchClause':
        if (!isList(body) && body) inBlock(body.start + 1);
        break;
      case 'SwitchCase': {
        const [first] = isList(consequent) ? consequent : [];
        if (first) inBlock(first.start);
        break;
      }
      case 'ConditionalExpression':
        if (!isList(consequent)) expression(consequent);
        expression(alternate);
        break;
      case 'LogicalExpression':
        expression(right);
        break;
      case 'Literal':
        for (const word of wordsOf(node.value)) words.set(word.toString('latin1'), word);
    }
  });
  return { code: inserted(source, insertions), branches, words: [...words.values()] };
}

const isList = (value: Node | readonly Node[] | undefined): value is readonly Node[] => Array.isArray(value);

/** At the same place what ends comes before what begins, and inner ends before outer ones, as they were noted. */
function inserted(
  source: string,
  insertions: readonly { readonly at: number; readonly text: string }[],
): string {
  const isEnd = (text: string) => text === ')' || text === '}';
  const sorted = insertions.toSorted((a, b) => a.at - b.at || Number(isEnd(b.text)) - Number(isEnd(a.text)));
  let code = '';
  let from = 0;
  for (const { at, text } of sorted) {
    code += source.slice(from, at) + text;
    from = at;
  }
  return code + source.slice(from);
}

const LONGEST_WORD = 32;

/** A text as it is; a number as text, and as the bytes of netlink. */
function wordsOf(value: unknown): readonly Buffer[] {
  if (typeof value === 'string' && value.length > 0 && value.length <= LONGEST_WORD)
    return [Buffer.from(value)];
  if (typeof value !== 'number' || !Number.isInteger(value) || value < 0 || value > 0xffffffff) return [];
  const bytes = Buffer.alloc(8);
  bytes.writeUInt32BE(value, 0);
  bytes.writeUInt32LE(value, 4);
  const short = value <= 0xffff ? [bytes.subarray(2, 4), bytes.subarray(4, 6)] : [];
  return [Buffer.from(String(value)), bytes.subarray(0, 4), bytes.subarray(4), ...short];
}
