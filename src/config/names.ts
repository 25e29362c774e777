import { bad, good, type Outcome } from '../inet/outcome.ts';
import { isKeyword, keywords } from './keywords.ts';
import type { Naming, Shape } from './shape.ts';

const TABLE = /^[a-z][a-z0-9_]{0,31}$/;
/**
 * Printable ASCII that can stand in quotes in nft's language, without what the kernel refuses in a device's name, and without
 * the comma, since an author who writes one means two names.
 */
const INTERFACE = /^(?!\.{1,2}$)(?!\*$)(?=.{1,15}$)[!#-)+\-.0-9;-[\]-~]*\*?$/;

/** The name of the table. An administrator must be able to type it in nft commands. */
export const tableName: Shape<string> = {
  get schema() {
    return { type: 'string', pattern: TABLE.source, not: { enum: keywords() } };
  },
  read(node, report, where) {
    return report.outcome(node, where, readTableName(node.kind === 'string' ? node.value : ''));
  },
};

export const REALM: Naming = {
  pattern: /^[A-Za-z0-9._-]{1,64}$/,
  expected: '1 to 64 letters, digits, ".", "_" or "-"',
};

/** A word that goes into the derivation of tokens. */
export const realm: Shape<string> = {
  schema: { type: 'string', pattern: REALM.pattern.source },
  read(node, report, where) {
    const fits = node.kind === 'string' && REALM.pattern.test(node.value);
    const outcome = fits ? good(node.value) : bad('is no realm', REALM.expected);
    return report.outcome(node, where, outcome);
  },
};

/** The name of a network interface, or the beginning of such names: `wg*`. */
export const interfaceName: Shape<string> = {
  schema: { type: 'string', pattern: INTERFACE.source },
  read(node, report, where) {
    return report.outcome(node, where, readInterface(node.kind === 'string' ? node.value : ''));
  },
};

/** The valid name of a service or user nearest to `text`: `My Web (old)` is `my-web-old`; '' if there is none. */
export function toName(text: string): string {
  return text
    .toLowerCase()
    .replace(/[^a-z0-9_-]+/g, '-')
    .replace(/^[^a-z]+/, '')
    .slice(0, 32)
    .replace(/-+$/, '');
}

/** Leaves out duplicates and names that a wildcard covers, since the kernel refuses overlaps. */
export function mergeInterfaces(names: readonly string[]): readonly string[] {
  const prefixes = new Set(names.filter(name => name.endsWith('*')).map(name => name.slice(0, -1)));
  return [...new Set(names)].filter(name => {
    const plain = name.endsWith('*') ? name.slice(0, -1) : `${name}*`;
    for (let length = 1; length < plain.length; length++) {
      if (prefixes.has(plain.slice(0, length))) return false;
    }
    return true;
  });
}

function readTableName(name: string): Outcome<string> {
  if (isKeyword(name)) return bad('is a word of the nft language', 'another name, such as "knockd"');
  if (TABLE.test(name)) return good(name);
  return bad('is no table name', 'a lower-case letter, then up to 31 lower-case letters, digits or "_"');
}

function readInterface(name: string): Outcome<string> {
  if (name === '*') return bad('stands for all interfaces', 'an empty array for that, or names');
  if (INTERFACE.test(name)) return good(name);
  return bad(
    'is no interface name',
    'one name: up to 15 printable characters, none of them a space, comma, "/", ":", quote or backslash, and "*" only at the end',
  );
}
