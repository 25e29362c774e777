import { bad, good } from '../inet/outcome.ts';
import { nearest } from './nearest.ts';
import type { Position } from './problems.ts';
import { nameKind, quote, type Report } from './report.ts';
import type { Member, Node } from './syntax.ts';

export type Json = null | boolean | number | string | readonly Json[] | { readonly [name: string]: Json };
/** A fragment of JSON Schema, draft 7. */
export type JsonSchema = { readonly [keyword: string]: Json };

/** One kind of value: how editors check it (in part), and how we read it (in full). */
export interface Shape<T> {
  readonly schema: JsonSchema;
  /** `where` is the key for messages, `services.ssh.ports`. Returns undefined after it has reported an error. */
  read(node: Node, report: Report, where: string): T | undefined;
}

/** A value and its place, for checks that need the whole file. */
export interface Placed<T> {
  readonly at: Position;
  readonly value: T;
}

/** A key of an object, as the file's author sees it. */
export interface Key<T = unknown> {
  readonly shape: Shape<T>;
  readonly doc: string;
  /** The default, as written in the file. */
  readonly default?: Json;
  readonly required?: true;
  /** The environment variable that overrides the file. */
  readonly env?: string;
}

export type Keys = { readonly [name: string]: Key };

/** The values of an object, for only the keys that it has. */
export type Values<K extends Keys> = {
  readonly [N in keyof K]?: K[N] extends Key<infer T> ? T : never;
};

/** An object with keys known beforehand. */
export function object<K extends Keys>(keys: K): Shape<Values<K>> & { readonly keys: K } {
  const names = Object.keys(keys);
  const required = names.filter(name => keys[name]?.required);
  return {
    keys,
    get schema() {
      return {
        type: 'object',
        additionalProperties: false,
        properties: Object.fromEntries(names.map(name => [name, keySchema(keys[name])])),
        ...(required.length > 0 ? { required } : {}),
      };
    },
    read(node, report, where) {
      if (node.kind !== 'object')
        return report.wrong(node.at, inside(where), `this is ${nameKind(node)}`, 'an object');
      const values: [string, unknown][] = [];
      for (const member of node.members) {
        const key = Object.hasOwn(keys, member.name) ? keys[member.name] : undefined;
        tellDuplicate(member, report, where);
        if (key === undefined) {
          tellUnknown(member, names, report, where);
          continue;
        }
        const value = key.shape.read(member.value, report, join(where, member.name));
        if (value !== undefined && member.duplicateOf === null) values.push([member.name, value]);
      }
      for (const name of required) {
        if (!node.members.some(member => member.name === name)) {
          report.wrong(
            node.at,
            inside(where),
            `the key "${name}" is missing`,
            `"${name}" (${keys[name]?.doc})`,
          );
        }
      }
      return Object.fromEntries(values) as Values<K>; // each value comes from the shape under its key
    },
  };
}

interface Named<T> {
  readonly name: string;
  readonly at: Position;
  readonly value: T;
}

/** The rule for keys that the author chooses. */
export interface Naming {
  readonly pattern: RegExp;
  readonly expected: string;
}

/** An object whose keys are names that the author chooses. `what` says what they name. */
export function dictionary<T>(
  shape: Shape<T>,
  {
    what,
    least,
    ifEmpty,
    naming = NAMING,
  }: { what: string; least: 0 | 1; ifEmpty?: string; naming?: Naming },
): Shape<readonly Named<T>[]> {
  return {
    get schema() {
      return {
        type: 'object',
        propertyNames: { pattern: naming.pattern.source },
        additionalProperties: shape.schema,
        ...(least > 0 ? { minProperties: least } : {}),
      };
    },
    read(node, report, where) {
      const expected = `an object with a key for each ${what}`;
      const here = inside(where);
      if (node.kind !== 'object') return report.wrong(node.at, here, `this is ${nameKind(node)}`, expected);
      if (node.members.length < least) return report.wrong(node.at, here, 'the object is empty', expected);
      if (node.members.length === 0 && ifEmpty !== undefined) report.warning(node.at, `${here}: ${ifEmpty}`);
      const value: Named<T>[] = [];
      for (const member of node.members) {
        tellDuplicate(member, report, where);
        const named = naming.pattern.test(member.name);
        if (!named)
          report.wrong(
            member.at,
            here,
            `${quoteKey(member.name, 'this')} is no ${what} name`,
            naming.expected,
          );
        const read = shape.read(member.value, report, join(where, named ? member.name : '?'));
        if (read === undefined || !named || member.duplicateOf !== null) continue;
        value.push({ name: member.name, at: member.at, value: read });
      }
      return value;
    },
  };
}

/** Values of one shape, `of` in messages. A wrong one is reported and left out. */
export function list<T>(shape: Shape<T>, of: string): Shape<readonly T[]> {
  return {
    get schema() {
      return { type: 'array', items: shape.schema };
    },
    read(node, report, where) {
      if (node.kind !== 'array')
        return report.wrong(node.at, where, `this is ${nameKind(node)}`, `an array of ${of}`);
      return node.items.map(item => shape.read(item, report, where)).filter(value => value !== undefined);
    },
  };
}

export function choice<const V extends string>(...values: readonly V[]): Shape<V> {
  return {
    schema: { type: 'string', enum: values },
    read(node, report, where) {
      const value = values.find(one => node.kind === 'string' && node.value === one);
      const expected = values
        .map(one => `"${one}"`)
        .join(', ')
        .replace(/, (?=[^,]*$)/, ' or ');
      return report.outcome(node, where, value === undefined ? bad('is wrong', expected) : good(value));
    },
  };
}

export const flag: Shape<boolean> = {
  schema: { type: 'boolean' },
  read(node, report, where) {
    return report.outcome(
      node,
      where,
      node.kind === 'boolean' ? good(node.value) : bad('is wrong', 'true or false'),
    );
  },
};

export function integer(minimum: number, maximum: number): Shape<number> {
  const expected = `an integer from ${minimum} to ${maximum}`;
  return {
    schema: { type: 'integer', minimum, maximum },
    read(node, report, where) {
      const fits =
        node.kind === 'number' &&
        Number.isInteger(node.value) &&
        node.value >= minimum &&
        node.value <= maximum;
      return report.outcome(node, where, fits ? good(node.value + 0) : bad('is wrong', expected)); // + 0: no -0
    },
  };
}

/** Any string. */
export const anyString: Shape<string> = {
  schema: { type: 'string' },
  read(node, report, where) {
    return report.outcome(
      node,
      where,
      node.kind === 'string' ? good(node.value) : bad('is wrong', 'a string'),
    );
  },
};

function keySchema(key: Key | undefined): JsonSchema {
  if (key === undefined) return {};
  return {
    description: key.doc,
    ...key.shape.schema,
    ...(key.default === undefined ? {} : { default: key.default }),
  };
}

/** The rule for names of services and users. */
export const NAMING: Naming = {
  pattern: /^[a-z][a-z0-9_-]{0,31}$/,
  expected: 'a lower-case letter, then up to 31 lower-case letters, digits, "_" or "-"',
};

function tellDuplicate(member: Member, report: Report, where: string): void {
  if (member.duplicateOf === null) return;
  const what = `the key ${quoteKey(member.name)} is already in line ${member.duplicateOf.line}`;
  report.wrong(member.at, inside(where), what, 'each key once');
}

function tellUnknown(member: Member, names: readonly string[], report: Report, where: string): void {
  const known = names.map(name => `"${name}"`).join(', ');
  const what = `unknown key ${quoteKey(member.name)}, the nearest is "${nearest(member.name, names)}"`;
  report.wrong(member.at, inside(where), what, `one of ${known}`);
}

/** Without its quotation mark, a whole sequence may become a key. No message may show that. */
function quoteKey(name: string, instead = 'with several numbers'): string {
  return /\d\D+\d{2}/.test(name) ? instead : quote(name);
}

function inside(where: string): string {
  return where === '' ? 'the file' : where;
}

function join(where: string, name: string): string {
  return where === '' ? name : `${where}.${name}`;
}
