/**
 * For any bytes the decoders give a value or a DecodeError. After any other error the native callback that brings the
 * bytes ends the process, and anybody may have changed a table.
 */

import fc from 'fast-check';
import t from 'tap';
import { AttributeReader, DecodeError } from '../../src/netlink/attributes.ts';
import { Connection } from '../../src/netlink/connection.ts';
import { encodeHeader, NLMSG_HEADER } from '../../src/netlink/datagram.ts';
import type { Message } from '../../src/netlink/nfnetlink.ts';
import type { Socket } from '../../src/netlink/socket.ts';
import { decodeChain, newChain } from '../../src/nftables/chain.ts';
import { DATATYPES } from '../../src/nftables/datatype.ts';
import { decodeElements, newElements } from '../../src/nftables/element.ts';
import { decodeCounter, newCounter } from '../../src/nftables/named-counter.ts';
import { decodeRule, newRule } from '../../src/nftables/rule.ts';
import { decodeSet, newSet } from '../../src/nftables/set.ts';
import { decodeTable, newTable } from '../../src/nftables/table.ts';
import { commit, readGeneration } from '../../src/nftables/transaction.ts';
import { decodeComment } from '../../src/nftables/userdata.ts';
import { expression } from './arbitrary.ts';
import { attributesOf, STEPS } from './message.ts';

const DECODERS = {
  table: decodeTable,
  chain: decodeChain,
  rule: decodeRule,
  set: decodeSet,
  elements: decodeElements,
  counter: decodeCounter,
} as const;
type Kind = keyof typeof DECODERS;

const element = {
  key: Buffer.from('010000000600000009290000', 'hex'),
  data: Buffer.from('02000000', 'hex'),
  timeout: 5000,
  expires: 1000,
  comment: 'ssh 2/4',
};

/** A good message of some kind. */
const good: fc.Arbitrary<readonly [Kind, Message]> = fc.oneof(
  fc.constantFrom<readonly [Kind, Message]>(
    ['table', newTable({ name: 't', comment: 'knockd-nft' })],
    ['chain', newChain('t', { name: 'c', hook: { name: 'input', priority: -10, policy: 'drop' } })],
    ['set', newSet('t', STEPS)],
    ['counter', newCounter('t', { name: 'c', packets: 1, bytes: 2 })],
    ...newElements('t', STEPS, [
      element,
      { key: element.key, data: { code: 'goto', chain: 'c' } as const },
    ]).map(message => ['elements', message] as const),
  ),
  fc
    .array(expression, { maxLength: 4 })
    .map(expressions => ['rule', newRule('t', 'c', { expressions, comment: 'x' }, 1)] as const),
);

/** One to four changes: a byte set, a few cut out, or a few put in. */
const edits = fc.array(
  fc.record({
    at: fc.nat(400),
    how: fc.constantFrom('set', 'flip', 'cut', 'insert'),
    byte: fc.oneof(fc.constantFrom(0, 1, 3, 4, 0x7f, 0x80, 0xff), fc.nat(255)),
    count: fc.integer({ min: 1, max: 8 }),
  }),
  { minLength: 1, maxLength: 4 },
);

function mutate(bytes: Buffer, changes: typeof edits extends fc.Arbitrary<infer T> ? T : never): Buffer {
  const list = [...bytes];
  for (const { at, how, byte, count } of changes) {
    const index = list.length === 0 ? 0 : at % list.length;
    if (how === 'set') list[index] = byte;
    else if (how === 'flip') list[index] = (list[index] ?? 0) ^ (1 << (count - 1));
    else if (how === 'cut') list.splice(index, count);
    else list.splice(index, 0, ...Array<number>(count).fill(byte));
  }
  return Buffer.from(list);
}

function valueOrDecodeError(decode: () => unknown): void {
  try {
    decode();
  } catch (error) {
    if (!(error instanceof DecodeError)) throw error;
  }
}

t.test("a message of the kernel with any bytes changed is read, or refused as not the kernel's", t => {
  fc.assert(
    fc.property(good, edits, ([kind, message], changes) => {
      const bytes = mutate(attributesOf(message), changes);
      valueOrDecodeError(() => DECODERS[kind](new AttributeReader(bytes)));
    }),
    { numRuns: 10_000 },
  );
  t.end();
});

t.test('a message that is cut short anywhere is read, or refused', t => {
  fc.assert(
    fc.property(good, fc.nat(400), ([kind, message], length) => {
      const bytes = attributesOf(message);
      valueOrDecodeError(() =>
        DECODERS[kind](new AttributeReader(bytes.subarray(0, length % (bytes.length + 1)))),
      );
    }),
    { numRuns: 2000 },
  );
  t.end();
});

/** Attributes of any type, with any values, nested a few levels deep. */
const attributes: fc.Arbitrary<Buffer> = fc.letrec<{ list: Buffer; one: Buffer }>(tie => ({
  list: fc.array(tie('one'), { maxLength: 6 }).map(parts => Buffer.concat(parts)),
  one: fc
    .tuple(
      fc.oneof(fc.nat(14), fc.constant(0x8001)),
      fc.oneof(
        { maxDepth: 5 },
        fc.uint8Array({ maxLength: 20 }).map(value => Buffer.from(value)),
        fc
          .constantFrom('meta\0', 'cmp\0', 'dynset\0', 'lookup\0', 'limit\0', 'payload\0')
          .map(text => Buffer.from(text)),
        fc.nat(30).map(value => Buffer.from([0, 0, 0, value])),
        tie('list'),
      ),
    )
    .map(([type, value]) => {
      const header = Buffer.alloc(4);
      header.writeUInt16LE(4 + value.length, 0);
      header.writeUInt16LE(type, 2);
      return Buffer.concat([header, value, Buffer.alloc(-value.length & 3)]);
    }),
})).list;

t.test('attributes of any kind are read, or refused', t => {
  fc.assert(
    fc.property(attributes, fc.constantFrom(...Object.values(DECODERS)), (bytes, decode) => {
      valueOrDecodeError(() => decode(new AttributeReader(bytes)));
    }),
    { numRuns: 5000 },
  );
  t.end();
});

t.test('any bytes are attributes, or refused; every way of reading one of them too', t => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 60 }), value => {
      const bytes = Buffer.from(value);
      for (const read of ['u8', 'be16', 'be32', 'be64', 'string', 'bytes', 'nested'] as const)
        valueOrDecodeError(() => {
          const reader = new AttributeReader(bytes);
          while (reader.next()) reader[read]();
        });
    }),
    { numRuns: 2000 },
  );
  t.end();
});

t.test('userdata of anybody is a comment, or none', t => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 40 }), value => {
      const comment = decodeComment(Buffer.from(value));
      if (comment !== undefined && typeof comment !== 'string') throw new Error('no comment');
    }),
    { numRuns: 2000 },
  );
  t.end();
});

/** A socket that answers each datagram with what the test says, and then says that it got lost. */
class HostileSocket implements Socket {
  #listener: (datagram: Buffer) => void = () => {};
  readonly #answers: (sequence: number, sent: Buffer) => readonly Buffer[];

  constructor(answers: (sequence: number, sent: Buffer) => readonly Buffer[]) {
    this.#answers = answers;
  }

  async send(datagram: Buffer): Promise<void> {
    for (const answer of this.#answers(datagram.readUInt32LE(8), datagram)) this.#listener(answer);
    // whatever came before, the kernel ends with an error for the request
    const payload = Buffer.alloc(20);
    payload.writeInt32LE(-22, 0);
    this.#listener(Buffer.concat([encodeHeader(NLMSG_HEADER + 20, 2, 0, datagram.readUInt32LE(8)), payload]));
  }

  onDatagram(listener: (datagram: Buffer) => void): void {
    this.#listener = listener;
  }

  close(): void {}
}

const NLMSG_ERROR = 2;
const NLMSG_DONE = 3;

/** An answer with the right sequence number (mostly) and any flags and payload. */
const answer = fc.record({
  type: fc.oneof(fc.constantFrom(NLMSG_ERROR, NLMSG_DONE, 0xa0f), fc.nat(0xffff)),
  flags: fc.oneof(fc.constantFrom(0, 2, 0x10, 0x100, 0x200, 0x300), fc.nat(0xffff)),
  isOurs: fc.constantFrom(true, true, false),
  payload: fc.oneof(
    fc.uint8Array({ maxLength: 60 }),
    // an errno, the header of a message, and attributes of an extended ACK
    fc
      .tuple(
        fc.integer({ min: -200, max: 3 }),
        fc.oneof(fc.nat(60), fc.constantFrom(0x80000000, 0xfffffff0)),
        fc.uint8Array({ maxLength: 24 }),
      )
      .map(([errno, length, rest]) => {
        const head = Buffer.alloc(20);
        head.writeInt32LE(errno, 0);
        head.writeUInt32LE(length, 4);
        return Uint8Array.from([...head, ...rest]);
      }),
    fc
      .constantFrom('0800020000000000', '06000200ffff0000', '0400020004000100', '0800010068690000')
      .map(tlv => Uint8Array.from([...Buffer.alloc(20, 0xff), ...Buffer.from(tlv, 'hex')])),
  ),
  /** How much longer than it is the header says that it is. */
  lie: fc.constantFrom(0, 0, 0, 0, -4, 4, 1000, -1000),
});

t.test(
  'with any answer of a kernel, a request ends in a value or an error, and never throws at the socket',
  async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(answer, { maxLength: 4 }),
        fc.constantFrom('request', 'dump', 'batch'),
        async (answers, how) => {
          let thrown: unknown;
          const socket = new HostileSocket(sequence =>
            answers.map(({ type, flags, isOurs, payload, lie }) => {
              const length = NLMSG_HEADER + payload.length + lie;
              const header = encodeHeader(Math.max(0, length), type, flags, isOurs ? sequence : sequence + 7);
              return Buffer.concat([header, payload]);
            }),
          );
          const listen = socket.onDatagram.bind(socket);
          socket.onDatagram = listener =>
            listen(datagram => {
              try {
                listener(datagram);
              } catch (error) {
                if (!(error instanceof DecodeError)) thrown ??= error;
              }
            });
          const connection = new Connection(socket, { fencePause: 0 });
          const request = { type: 0xa10, flags: 0, subject: 'hostile', payload: Buffer.alloc(4) };
          const done =
            how === 'dump'
              ? connection.dump(request)
              : how === 'request'
                ? readGeneration(connection)
                : commit(connection, [newTable({ name: 't', comment: undefined })], { generation: 1 });
          await done.then(
            () => {},
            error => {
              if (error instanceof RangeError || error instanceof TypeError) throw error;
            },
          );
          if (thrown !== undefined) throw thrown;
        },
      ),
      { numRuns: 3000 },
    );
  },
);

t.test('a value of any size has a text: rules of others compare any bytes with any register', t => {
  for (const type of Object.values(DATATYPES))
    for (const size of [0, 1, 2, 3, 4, 5, 16, 32, 40])
      t.type(type.text(Buffer.alloc(size, 1)), 'string', `${type.name}, ${size} bytes`);
  t.equal(DATATYPES.inet_service.text(Buffer.from([1])), '0x01');
  t.equal(DATATYPES.inet_service.text(Buffer.from([0, 22])), '22');
  t.end();
});
