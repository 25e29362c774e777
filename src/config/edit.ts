/** Edits in the text of a configuration. Comments, order and format of the rest stay as they are. */
import { applyEdits, createScanner, type Edit, findNodeAtLocation, type Node, parseTree } from 'jsonc-parser';

/** Keys, from the root on. */
export type Path = readonly string[];

// jsonc-parser's own `modify` moves the comment behind the last member of an object to the one that it adds

/** Kinds of tokens from jsonc-parser's SyntaxKind, which is a const enum. */
const COMMA = 5;
const LINE_COMMENT = 12;
const BLOCK_COMMENT = 13;
const LINE_BREAK = 14;
const TRIVIA = 15;

/** The value at that path; undefined if there is none. */
export function findValue(text: string, path: Path): Node | undefined {
  const root = parseTree(text, [], { allowTrailingComma: true });
  return root && findNodeAtLocation(root, [...path]);
}

/** The text with another value at that path. `written` is JSON. */
export function withValue(text: string, path: Path, written: string): string {
  const { offset, length } = valueAt(text, path);
  return applyEdits(text, [{ offset, length, content: written }]);
}

/** The text with one more member at the end of the object, written like the one before. `written` is JSON. */
export function withMember(text: string, path: Path, name: string, written: string): string {
  const object = valueAt(text, path);
  const member = `${JSON.stringify(name)}: ${written}`;
  const last = object.children?.at(-1);
  const [start, end] = [object.offset + 1, endOf(object) - 1];
  if (!last) {
    const isEmpty = text.slice(start, end).trim() === '';
    const edit = isEmpty
      ? { offset: start, length: end - start, content: ` ${member} ` }
      : { offset: end, length: 0, content: ` ${member} ` };
    return applyEdits(text, [edit]);
  }
  const comma = commaAfter(text, endOf(last));
  const indent = indentOf(text, last.offset);
  const next = comma ?? endOf(last);
  if (indent === undefined)
    return applyEdits(
      text,
      comma === undefined
        ? [{ offset: next, length: 0, content: `, ${member}` }]
        : [{ offset: next, length: 0, content: ` ${member},` }],
    );
  const eol = text.includes('\r\n') ? '\r\n' : '\n';
  const after = { offset: lineEnd(text, next), length: 0 };
  return applyEdits(
    text,
    comma === undefined
      ? [
          { offset: next, length: 0, content: ',' },
          { ...after, content: `${eol}${indent}${member}` },
        ]
      : [{ ...after, content: `${eol}${indent}${member},` }],
  );
}

/** The text without a member. If the member has lines of its own, these go, with the comment after it. */
export function withoutMember(text: string, path: Path): string {
  const member = valueAt(text, path).parent;
  if (!member) throw new Error('the root is no member');
  const siblings = member.parent?.children ?? [];
  const before = siblings[siblings.indexOf(member) - 1];
  const comma = commaAfter(text, endOf(member));
  const end = comma ?? endOf(member);
  const indent = indentOf(text, member.offset);
  const ofLine = lineEnd(text, end);
  const eol = /^\r?\n/.exec(text.slice(ofLine))?.[0];
  const edits: Edit[] = [];
  if (indent !== undefined && eol !== undefined) {
    const start = member.offset - indent.length;
    edits.push({ offset: start, length: ofLine + eol.length - start, content: '' });
  } else {
    const start = comma === undefined ? text.slice(0, member.offset).trimEnd().length : member.offset;
    const space = comma === undefined ? 0 : (/^[ \t]*/.exec(text.slice(end))?.[0].length ?? 0);
    edits.push({ offset: start, length: end + space - start, content: '' });
  }
  const loose = comma === undefined && before ? commaAfter(text, endOf(before)) : undefined;
  if (loose !== undefined) edits.push({ offset: loose - 1, length: 1, content: '' });
  return applyEdits(text, merged(edits));
}

/** Drops an edit inside another: the comma before may be part of the removed text. */
function merged(edits: readonly Edit[]): Edit[] {
  return edits.filter(
    edit =>
      !edits.some(
        other => other !== edit && other.offset <= edit.offset && edit.offset < other.offset + other.length,
      ),
  );
}

function valueAt(text: string, path: Path): Node {
  const node = findValue(text, path);
  if (!node) throw new Error(`there is no ${path.join('.')}`);
  return node;
}

function endOf({ offset, length }: Node): number {
  return offset + length;
}

/** The text before the offset on its line, if that is only space. */
function indentOf(text: string, offset: number): string | undefined {
  const line = text.slice(text.lastIndexOf('\n', offset - 1) + 1, offset);
  return line.trim() === '' ? line : undefined;
}

/** The offset after the comma, if that is the next token; otherwise undefined. */
function commaAfter(text: string, offset: number): number | undefined {
  const scanner = createScanner(text, false);
  scanner.setPosition(offset);
  for (;;) {
    const kind: number = scanner.scan();
    if (kind === COMMA) return scanner.getTokenOffset() + 1;
    if (kind < LINE_COMMENT || kind > TRIVIA) return undefined;
  }
}

/** The end of the line if only space and comments follow on it; otherwise the offset itself. */
function lineEnd(text: string, offset: number): number {
  const scanner = createScanner(text, false);
  scanner.setPosition(offset);
  for (;;) {
    const kind: number = scanner.scan();
    if (kind === LINE_BREAK) return scanner.getTokenOffset();
    const isOneLine = kind === BLOCK_COMMENT && !scanner.getTokenValue().includes('\n');
    if (kind !== TRIVIA && kind !== LINE_COMMENT && !isOneLine) return offset;
  }
}
