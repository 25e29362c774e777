import { formatDuration } from '../inet/duration.ts';
import { type AttributeReader, AttributeWriter, MAX_ATTRIBUTE, required } from '../netlink/attributes.ts';
import { NLM_F } from '../netlink/connection.ts';
import type { Message } from '../netlink/nfnetlink.ts';
import { type Change, change } from './change.ts';
import { keyText } from './datatype.ts';
import { NFT_MSG, NFTA_LIST_ELEM } from './message.ts';
import { VERDICT } from './register.ts';
import type { Element, NftSet } from './ruleset.ts';
import { decodeComment, encodeComment } from './userdata.ts';
import { type Data, readData, readValue, verdictText, writeData } from './verdict.ts';

/** enum nft_set_elem_attributes, nft_set_elem_list_attributes, nft_set_elem_flags */
const NFTA_SET_ELEM = {
  KEY: 1,
  DATA: 2,
  FLAGS: 3,
  TIMEOUT: 4,
  EXPIRATION: 5,
  USERDATA: 6,
  KEY_END: 10,
} as const;
const NFTA_SET_ELEM_LIST = { TABLE: 1, SET: 2, ELEMENTS: 3 } as const;
const NFT_SET_ELEM = { INTERVAL_END: 1, CATCHALL: 2 } as const;
/** libnftnl: NFTNL_UDATA_SET_ELEM_FLAGS with SET_ELEM_F_INTERVAL_OPEN */
const OPEN_INTERVAL = Buffer.from([1, 4, 1, 0, 0, 0]);

function writeElement(writer: AttributeWriter, element: Element): void {
  const start = writer.open(NFTA_LIST_ELEM);
  if (element.end) writer.be32(NFTA_SET_ELEM.FLAGS, NFT_SET_ELEM.INTERVAL_END);
  if (element.all) writer.be32(NFTA_SET_ELEM.FLAGS, NFT_SET_ELEM.CATCHALL);
  if (element.timeout !== undefined) writer.be64(NFTA_SET_ELEM.TIMEOUT, BigInt(element.timeout));
  if (element.expires !== undefined) writer.be64(NFTA_SET_ELEM.EXPIRATION, BigInt(element.expires));
  if (!element.all) writeData(writer, NFTA_SET_ELEM.KEY, element.key);
  if (element.data !== undefined) writeData(writer, NFTA_SET_ELEM.DATA, element.data);
  if (element.comment !== undefined) writer.bytes(NFTA_SET_ELEM.USERDATA, encodeComment(element.comment));
  else if (element.open) writer.bytes(NFTA_SET_ELEM.USERDATA, OPEN_INTERVAL);
  writer.close(start);
}

/**
 * As many messages as the elements need. An attribute holds 64 KiB. Each element becomes bytes as soon as it comes and is not
 * kept, since there may be a hundred thousand.
 */
function* elementChanges(
  verb: 'add' | 'delete',
  flags: number,
  table: string,
  set: NftSet,
  elements: Iterable<Element>,
): Generator<Change, undefined> {
  const type = verb === 'add' ? NFT_MSG.NEWSETELEM : NFT_MSG.DELSETELEM;
  const message = (body: AttributeWriter): Change =>
    change(
      verb,
      table,
      { kind: 'elements', set },
      {
        type,
        flags,
        write(writer) {
          writer.string(NFTA_SET_ELEM_LIST.TABLE, table);
          writer.string(NFTA_SET_ELEM_LIST.SET, set.name);
          writer.nested(NFTA_SET_ELEM_LIST.ELEMENTS, nest => nest.raw(body.finish()));
        },
      },
    );
  let body = new AttributeWriter();
  for (const element of elements) {
    if (body.length + elementSize(element) > MAX_ATTRIBUTE) {
      yield message(body);
      body = new AttributeWriter();
    }
    writeElement(body, element);
  }
  if (body.length > 0) yield message(body);
}

const keyOnly = ({ key, end, all }: Element): Element => ({ key, ...(end && { end }), ...(all && { all }) });

/** An upper bound of an element's bytes in a message. */
function elementSize({ key, data, comment }: Element): number {
  const value =
    data === undefined
      ? 0
      : Buffer.isBuffer(data)
        ? data.length
        : 24 + ('chain' in data ? data.chain.length : 0);
  return 64 + key.length + value + (comment === undefined ? 0 : 8 + comment.length * 3);
}

/** Adds elements. An existing one stays as it is. If it has other data, that is an error. */
export function newElements(table: string, set: NftSet, elements: readonly Element[]): Change[] {
  return [...newElementsOf(table, set, elements)];
}

/** The same for elements that are made as they are asked for, and messages that are sent as they come. */
export function newElementsOf(
  table: string,
  set: NftSet,
  elements: Iterable<Element>,
): Generator<Change, undefined> {
  return elementChanges('add', NLM_F.CREATE, table, set, elements);
}

/** Adds elements. If one exists already, that is an error (EEXIST). */
export function addElements(table: string, set: NftSet, elements: readonly Element[]): Change[] {
  return [...elementChanges('add', NLM_F.CREATE | NLM_F.EXCL, table, set, elements)];
}

/** Removes elements by their keys. If one does not exist, that is an error. */
export function deleteElements(table: string, set: NftSet, elements: readonly Element[]): Change[] {
  return [...elementChanges('delete', 0, table, set, elements.map(keyOnly))];
}

/** Removes all elements that there are. */
export function flushSet(table: string, set: NftSet): Change {
  return change(
    'flush',
    table,
    { kind: 'elements', set },
    {
      type: NFT_MSG.DELSETELEM,
      flags: 0,
      write(writer) {
        writer.string(NFTA_SET_ELEM_LIST.TABLE, table);
        writer.string(NFTA_SET_ELEM_LIST.SET, set.name);
      },
    },
  );
}

/** The request that dumps all elements of a set. */
export function getElements(table: string, set: string): Message {
  return {
    type: NFT_MSG.GETSETELEM,
    flags: 0,
    subject: `elements of ${set}`,
    write(writer) {
      writer.string(NFTA_SET_ELEM_LIST.TABLE, table);
      writer.string(NFTA_SET_ELEM_LIST.SET, set);
    },
  };
}

/** The request for the element of a key, or for the range around it; ENOENT if there is none. It is not a dump. */
export function getElement(table: string, set: string, key: Buffer): Message {
  return {
    type: NFT_MSG.GETSETELEM,
    flags: 0,
    subject: `element of ${set}`,
    write(writer) {
      writer.string(NFTA_SET_ELEM_LIST.TABLE, table);
      writer.string(NFTA_SET_ELEM_LIST.SET, set);
      writer.nested(NFTA_SET_ELEM_LIST.ELEMENTS, nest => writeElement(nest, { key }));
    },
  };
}

/** The elements in one message of a dump. */
export function decodeElements(reader: AttributeReader): Element[] {
  const elements: Element[] = [];
  while (reader.next()) {
    if (reader.type !== NFTA_SET_ELEM_LIST.ELEMENTS) continue;
    const list = reader.nested();
    while (list.next()) elements.push(decodeElement(list.nested()));
  }
  return elements;
}

function decodeElement(reader: AttributeReader): Element {
  let key: Buffer | undefined;
  let last: Buffer | undefined;
  let data: Data | undefined;
  let flags = 0;
  let timeout: bigint | undefined;
  let expires: bigint | undefined;
  let userdata: Buffer | undefined;
  while (reader.next()) {
    if (reader.type === NFTA_SET_ELEM.KEY) key = readValue(reader.nested());
    else if (reader.type === NFTA_SET_ELEM.KEY_END) last = readValue(reader.nested());
    else if (reader.type === NFTA_SET_ELEM.DATA) data = readData(reader.nested());
    else if (reader.type === NFTA_SET_ELEM.FLAGS) flags = reader.be32();
    else if (reader.type === NFTA_SET_ELEM.TIMEOUT) timeout = reader.be64();
    else if (reader.type === NFTA_SET_ELEM.EXPIRATION) expires = reader.be64();
    else if (reader.type === NFTA_SET_ELEM.USERDATA) userdata = reader.bytes();
  }
  const all = (flags & NFT_SET_ELEM.CATCHALL) !== 0;
  // there may be a hundred thousand, and to spread parts into an object takes much longer than this
  const element: { -readonly [K in keyof Element]: Element[K] } = {
    key: all ? Buffer.alloc(0) : required(key, 'element key'),
  };
  if (last) element.last = last;
  if (all) element.all = true;
  if (data !== undefined) element.data = data;
  if (timeout) element.timeout = Number(timeout);
  if (expires !== undefined) element.expires = Number(expires);
  if (userdata) {
    const comment = decodeComment(userdata);
    if (comment !== undefined) element.comment = comment;
    else if (userdata.equals(OPEN_INTERVAL)) element.open = true;
  }
  if (flags & NFT_SET_ELEM.INTERVAL_END) element.end = true;
  return element;
}

/** The elements that only one of two lists has, or that have another value there. */
interface Compared {
  readonly added: readonly Element[];
  readonly removed: readonly Element[];
}

const COMPARED = new WeakMap<
  readonly Element[],
  { readonly with: readonly Element[]; readonly is: Compared }
>();

/**
 * The elements that turn the current list into the wanted one, whatever their order. A load asks several times about the same lists,
 * which are values. Lists that are alike but for a few elements are compared in order, which takes a fifth of the time.
 */
export function compareElements(current: readonly Element[], wanted: readonly Element[]): Compared {
  const known = COMPARED.get(current);
  if (known?.with === wanted) return known.is;
  const is = compare(current, wanted);
  COMPARED.set(current, { with: wanted, is });
  return is;
}

function compare(current: readonly Element[], wanted: readonly Element[]): Compared {
  const most = Math.min(current.length, wanted.length);
  const isSame = (at: number, then: number): boolean => {
    const [a, b] = [current[at], wanted[then]];
    return a !== undefined && b !== undefined && (a === b || (sameIdentity(a, b) && sameElement(a, b)));
  };
  let first = 0;
  while (first < most && isSame(first, first)) first++;
  let last = 0;
  while (last < most - first && isSame(current.length - 1 - last, wanted.length - 1 - last)) last++;
  const before = byIdentity(current.slice(first, current.length - last));
  const after = byIdentity(wanted.slice(first, wanted.length - last));
  const lacking = (elements: typeof before, others: typeof before) =>
    [...elements].flatMap(([id, element]) => {
      const other = others.get(id);
      return other && sameElement(element, other) ? [] : [element];
    });
  return { added: lacking(after, before), removed: lacking(before, after) };
}

function byIdentity(elements: readonly Element[]): ReadonlyMap<string, Element> {
  return new Map(elements.map(it => [identityOf(it), it]));
}

function sameIdentity(a: Element, b: Element): boolean {
  return a.key.equals(b.key) && a.end === b.end && a.all === b.all;
}

/** The part of an element that no other element of its set has. */
export function identityOf({ key, end, all }: Element): string {
  const text = key.toString('latin1');
  return end || all ? `${text}${end ? 'end' : ''}${all ? 'all' : ''}` : text;
}

/** Whether both elements are the same but for their time-outs. */
export function sameElement(a: Element, b: Element): boolean {
  if (a.comment !== b.comment || a.end !== b.end || (a.data === undefined) !== (b.data === undefined))
    return false;
  if (a.data === undefined || b.data === undefined) return true;
  if (Buffer.isBuffer(a.data)) return Buffer.isBuffer(b.data) && a.data.equals(b.data);
  if (Buffer.isBuffer(b.data) || a.data.code !== b.data.code) return false;
  return !('chain' in a.data) || ('chain' in b.data && a.data.chain === b.data.chain);
}

/** An element as nft writes it. `end` is the first address after a range, if the element begins one. */
export function elementText(set: NftSet, element: Element): string {
  const words = [element.all ? '*' : keyText(set.types, element.key)];
  if (element.timeout !== undefined) words.push(`timeout ${formatDuration(element.timeout)}`);
  if (element.expires !== undefined) words.push(`expires ${formatDuration(element.expires)}`);
  if (element.comment !== undefined) words.push(`comment ${JSON.stringify(element.comment)}`);
  if (element.data !== undefined) words.push(':', dataText(set, element.data));
  return words.join(' ');
}

function dataText(set: NftSet, data: Data): string {
  if (!Buffer.isBuffer(data)) return verdictText(data);
  return set.data && set.data !== VERDICT ? set.data.text(data) : `0x${data.toString('hex')}`;
}
