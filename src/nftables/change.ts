import type { Message } from '../netlink/nfnetlink.ts';
import type { Chain, NamedCounter, NftSet, Rule, Table } from './ruleset.ts';

/** The object of a change. The elements of a set are in the bytes of the message. */
type NftObject =
  | { readonly kind: 'table'; readonly table: Pick<Table, 'name' | 'comment'> }
  | { readonly kind: 'counter'; readonly counter: Pick<NamedCounter, 'name'> & Partial<NamedCounter> }
  | { readonly kind: 'set' | 'elements'; readonly set: NftSet }
  | { readonly kind: 'chain'; readonly chain: Chain }
  /** All rules of a chain. */
  | { readonly kind: 'rules'; readonly chain: string }
  /** `number` is its position, from 1. */
  | { readonly kind: 'rule'; readonly chain: string; readonly rule: Rule; readonly number: number };

/** One change of a transaction, as a value: verb, object and table, and the message for the kernel. */
export interface Change extends Message {
  readonly verb: 'add' | 'delete' | 'flush';
  readonly table: string;
  readonly object: NftObject;
}

/** A change whose message names its object. */
export function change(
  verb: Change['verb'],
  table: string,
  object: NftObject,
  message: Omit<Message, 'subject'>,
): Change {
  return { verb, table, object, subject: subjectOf(object), ...message };
}

/** `chain guard_ssh: rule 2`, `elements of map steps`: for errors. */
function subjectOf(object: NftObject): string {
  switch (object.kind) {
    case 'rule':
      return `${objectName(object)}: rule ${object.number}`;
    case 'rules':
      return `rules of ${objectName(object)}`;
    default:
      return objectName(object);
  }
}

/** The object of a change, with a rule as part of its chain: `chain guard_ssh`, `elements of map steps`. */
export function objectName(object: NftObject): string {
  switch (object.kind) {
    case 'table':
      return `table ${object.table.name}`;
    case 'counter':
      return `counter ${object.counter.name}`;
    case 'set':
      return setSubject(object.set);
    case 'elements':
      return `elements of ${setSubject(object.set)}`;
    case 'chain':
      return `chain ${object.chain.name}`;
    case 'rules':
    case 'rule':
      return `chain ${object.chain}`;
  }
}

function setSubject({ data, name }: NftSet): string {
  return `${data ? 'map' : 'set'} ${name}`;
}
