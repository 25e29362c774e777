/** Requests, dumps and transactions over a socket whose kernel is the test. */

import { setImmediate as nextTurn } from 'node:timers/promises';
import t from 'tap';
import { failureOf } from '../../src/cli/failure.ts';
import { AttributeReader, AttributeWriter, DecodeError } from '../../src/netlink/attributes.ts';
import { Connection, DumpInterruptedError } from '../../src/netlink/connection.ts';
import { encodeHeader, NLMSG_HEADER } from '../../src/netlink/datagram.ts';
import {
  NetlinkError,
  type Part,
  StaleGenerationError,
  TransactionTooLargeError,
  UnansweredError,
} from '../../src/netlink/errors.ts';
import type { Message } from '../../src/netlink/nfnetlink.ts';
import type { Socket } from '../../src/netlink/socket.ts';
import { newChain } from '../../src/nftables/chain.ts';
import { featureText, missingFeature } from '../../src/nftables/feature.ts';
import { register } from '../../src/nftables/register.ts';
import { newRule } from '../../src/nftables/rule.ts';
import type { Rule } from '../../src/nftables/ruleset.ts';
import { newTable } from '../../src/nftables/table.ts';
import { ANY_GENERATION, commit, encodeBatch, readGeneration } from '../../src/nftables/transaction.ts';

const NLMSG_ERROR = 2;
const NLMSG_DONE = 3;
const NLM_F_MULTI = 2;
const NLM_F_DUMP_INTR = 0x10;
const NLM_F_CAPPED = 0x100;
const NLM_F_ACK_TLVS = 0x200;
const [ENOENT, EPERM, ERESTART, EEXIST, EOPNOTSUPP, EINVAL] = [2, 1, 85, 17, 95, 22];

/** A message that was sent, taken apart. */
interface Sent {
  readonly type: number;
  readonly flags: number;
  readonly sequence: number;
  readonly payload: Buffer;
}

function messagesOf(datagram: Buffer): Sent[] {
  const list: Sent[] = [];
  for (let at = 0; at < datagram.length; ) {
    const length = datagram.readUInt32LE(at);
    list.push({
      type: datagram.readUInt16LE(at + 4),
      flags: datagram.readUInt16LE(at + 6),
      sequence: datagram.readUInt32LE(at + 8),
      payload: datagram.subarray(at + NLMSG_HEADER, at + length),
    });
    at += (length + 3) & ~3;
  }
  return list;
}

function message(type: number, flags: number, sequence: number, payload: Buffer): Buffer {
  const padding = Buffer.alloc(-payload.length & 3);
  return Buffer.concat([
    encodeHeader(NLMSG_HEADER + payload.length, type, flags, sequence),
    payload,
    padding,
  ]);
}

/** An error of the kernel, or an ACK if the errno is 0; with extended ACK if there is more to say. */
function answer(
  to: Sent,
  errno: number,
  { reason, offset, capped = true }: { reason?: string; offset?: number; capped?: boolean } = {},
): Buffer {
  const head = Buffer.alloc(4);
  head.writeInt32LE(-errno);
  const writer = new AttributeWriter();
  writer.raw(head);
  writer.raw(encodeHeader(NLMSG_HEADER + to.payload.length, to.type, to.flags, to.sequence));
  if (!capped) writer.raw(Buffer.concat([to.payload, Buffer.alloc(-to.payload.length & 3)]));
  if (reason !== undefined) writer.string(1, reason);
  const host = Buffer.alloc(4);
  host.writeUInt32LE(offset ?? 0);
  if (offset !== undefined) writer.bytes(2, host);
  const isExtended = reason !== undefined || offset !== undefined;
  const flags = (capped ? NLM_F_CAPPED : 0) | (isExtended ? NLM_F_ACK_TLVS : 0);
  return message(NLMSG_ERROR, flags, to.sequence, Buffer.from(writer.finish()));
}

function done({ sequence }: Sent, errno = 0, flags = 0): Buffer {
  const payload = Buffer.alloc(4);
  payload.writeInt32LE(-errno);
  return message(NLMSG_DONE, NLM_F_MULTI | flags, sequence, payload);
}

function generation({ sequence }: Sent, number: number): Buffer {
  const writer = new AttributeWriter();
  writer.raw(Buffer.from([0, 0, 0, 0]));
  writer.be32(1, number);
  return message((10 << 8) | 15, 0, sequence, Buffer.from(writer.finish()));
}

/** A connection to a kernel that answers each datagram (the messages in it) with datagrams. */
function connect(kernel: (sent: readonly Sent[]) => readonly Buffer[]) {
  const sent: Sent[][] = [];
  let listener: (datagram: Buffer) => void = () => {};
  let closed = false;
  const socket: Socket = {
    async send(datagram) {
      const messages = messagesOf(datagram);
      sent.push(messages);
      const answers = kernel(messages);
      // an answer may be here before the sender hears that it is done
      await new Promise<void>(resolve => {
        for (const one of answers) setImmediate(() => listener(one));
        setImmediate(() => setImmediate(resolve));
      });
    },
    onDatagram(receive) {
      listener = receive;
    },
    close() {
      closed = true;
    },
  };
  return { connection: new Connection(socket), sent, isClosed: () => closed };
}

const GETGEN = (10 << 8) | 16;
const REQUEST = { type: GETGEN, flags: 0, subject: 'chain guard_ssh', payload: Buffer.alloc(4) };

/** Answers the question for the generation, and messages that want an ACK; `refuse` comes before. */
function kernel(refuse: (sent: readonly Sent[]) => readonly Buffer[] = () => []) {
  return (sent: readonly Sent[]): Buffer[] => {
    const [first] = sent;
    if (first?.type === GETGEN) return [generation(first, 8)];
    const refusals = refuse(sent);
    return refusals.length > 0
      ? [Buffer.concat(refusals)]
      : sent.filter(({ flags }) => flags & 4).map(one => answer(one, 0));
  };
}

const RULE: Rule = {
  expressions: [
    { kind: 'meta', key: 'l4proto', dreg: register(0) },
    { kind: 'cmp', sreg: register(0), op: 'eq', value: Buffer.from([6]) },
    { kind: 'socket', key: 'wildcard', dreg: register(0) },
  ],
};
const BATCH: readonly Message[] = [
  newTable({ name: 't', comment: 'x' }),
  newChain('t', { name: 'stray' }),
  newRule('t', 'stray', RULE, 4),
];

t.test('a request resolves with its answer, even if other messages come in between', async t => {
  const { connection, sent } = connect(([one]) =>
    one ? [message(99, 0, one.sequence + 100, Buffer.alloc(4)), generation(one, 7), generation(one, 9)] : [],
  );
  t.equal(await readGeneration(connection), 7);
  t.match(sent, [[{ type: GETGEN, flags: 1 }]], 'NLM_F_REQUEST');
});

t.test('requests at the same time each get their own answer', async t => {
  const { connection } = connect(([one]) => (one ? [generation(one, one.sequence)] : []));
  t.strictSame(await Promise.all([1, 2, 3].map(() => readGeneration(connection))), [1, 2, 3]);
});

t.test('an error names the subject of the request, the reason and the errno', async t => {
  const { connection } = connect(([one]) => (one ? [answer(one, ENOENT)] : []));
  await t.rejects(connection.request(REQUEST), {
    name: 'NetlinkError',
    code: 'ENOENT',
    message: 'chain guard_ssh: no such file or directory (ENOENT)',
  });
});

t.test("the kernel's own sentence is told where it gives one, also where it echoes the request", async t => {
  for (const capped of [true, false]) {
    const reason = 'Could not process';
    const { connection } = connect(([one]) => (one ? [answer(one, EEXIST, { reason, capped })] : []));
    await t.rejects(connection.request(REQUEST), { message: 'chain guard_ssh: Could not process (EEXIST)' });
  }
});

t.test('an errno without a name is shown by its number', async t => {
  const { connection } = connect(([one]) => (one ? [answer(one, 4000)] : []));
  await t.rejects(connection.request(REQUEST), { code: 'errno 4000' });
});

t.test('a request for an ACK resolves with it, and is refused with an error', async t => {
  const { connection, sent } = connect(([one]) => (one ? [answer(one, 0)] : []));
  await t.resolves(connection.acknowledge(REQUEST));
  t.match(sent, [[{ flags: 5 }]], 'NLM_F_REQUEST | NLM_F_ACK');
  const other = connect(([one]) => (one ? [answer(one, EPERM)] : []));
  await t.rejects(other.connection.acknowledge(REQUEST), { code: 'EPERM', message: /^chain guard_ssh: / });
});

t.test('an end in place of an answer is an error', async t => {
  const { connection } = connect(([one]) => (one ? [done(one)] : []));
  await t.rejects(connection.request(REQUEST), DecodeError);
});

t.test('a request that the socket cannot send is an error at once', async t => {
  const socket: Socket = {
    send: async () => {
      throw new TransactionTooLargeError(300_000);
    },
    onDatagram() {},
    close() {},
  };
  const connection = new Connection(socket);
  await t.rejects(connection.request(REQUEST), { message: /300000 bytes.*net\.core\.wmem_max/ });
  await t.rejects(commit(connection, BATCH, { generation: 7 }), TransactionTooLargeError);
});

t.test('a connection closes its socket', async t => {
  const { connection, isClosed } = connect(() => []);
  connection.close();
  t.ok(isClosed());
});

t.test('a call that still waits for an answer when the connection is closed gets an error', async t => {
  const { connection } = connect(() => []);
  const waits: readonly Promise<unknown>[] = [
    connection.request(REQUEST),
    connection.dump(REQUEST),
    connection.acknowledge(REQUEST),
  ];
  const ended = waits.map(it =>
    t.rejects(async () => await it, { message: 'chain guard_ssh: the connection is closed' }),
  );
  const transaction = t.rejects(commit(connection, BATCH, { generation: 7 }), UnansweredError);
  await nextTurn();
  connection.close();
  await Promise.all([...ended, transaction]);
  await t.rejects(connection.request(REQUEST), { message: 'chain guard_ssh: the connection is closed' });
});

t.test('each of two transactions at the same time gets its own refusals', async t => {
  const { connection } = connect(
    kernel(([begin, , , , ...rest]) => (begin && rest.length === 0 ? [answer(begin, ERESTART)] : [])),
  );
  const [short, long] = await Promise.allSettled([
    commit(connection, BATCH.slice(0, 2), { generation: 7 }),
    commit(connection, BATCH, { generation: 7 }),
  ]);
  t.match(short, { status: 'rejected', reason: { name: 'StaleGenerationError' } });
  t.match(long, { status: 'fulfilled', value: { generation: 8 } });
});

t.test('a dump gathers all messages up to the end, over as many datagrams as there are', async t => {
  const { connection, sent } = connect(([one]) => {
    if (!one) return [];
    const part = (byte: number) => message(5, NLM_F_MULTI, one.sequence, Buffer.from([byte, 0, 0]));
    return [Buffer.concat([part(1), part(2)]), part(3), done(one)];
  });
  const replies = await connection.dump(REQUEST);
  t.strictSame(
    replies.map(({ type, payload }) => [type, payload[0], payload.length]),
    [
      [5, 1, 3],
      [5, 2, 3],
      [5, 3, 3],
    ],
  );
  t.match(sent, [[{ flags: 0x301 }]], 'NLM_F_REQUEST | NLM_F_DUMP');
});

t.test('a dump of nothing is empty', async t => {
  const { connection } = connect(([one]) => (one ? [done(one)] : []));
  t.strictSame(await connection.dump(REQUEST), []);
});

t.test('a dump that ends with an errno is an error', async t => {
  const { connection } = connect(([one]) => (one ? [done(one, ENOENT)] : []));
  await t.rejects(connection.dump(REQUEST), { code: 'ENOENT', message: /^chain guard_ssh: / });
});

t.test('a dump that a change cut through is of no use, and says so at its end', async t => {
  const { connection } = connect(([one]) =>
    one
      ? [
          message(5, NLM_F_MULTI | NLM_F_DUMP_INTR, one.sequence, Buffer.alloc(4)),
          message(5, NLM_F_MULTI, one.sequence, Buffer.alloc(4)),
          done(one),
        ]
      : [],
  );
  await t.rejects(connection.dump(REQUEST), new DumpInterruptedError('chain guard_ssh'));
});

t.test('a dump whose end alone reports a change is of no use either', async t => {
  const { connection } = connect(([one]) => (one ? [done(one, 0, NLM_F_DUMP_INTR)] : []));
  await t.rejects(connection.dump(REQUEST), DumpInterruptedError);
});

t.test(
  'a transaction is one datagram: begin with the generation, messages, end; the last message asks for an ACK',
  async t => {
    const { connection, sent } = connect(kernel());
    const { bytes, generation } = await commit(connection, BATCH, { generation: 0x01020304 });
    const [batch = [], ...fence] = sent;
    t.equal(fence.length, 1, 'then a question that is answered when all was done');
    t.strictSame(
      batch.map(({ type, flags }) => [type, flags]),
      [
        [16, 1],
        [0xa00, 0x401],
        [0xa03, 0x401],
        [0xa06, 0xc05],
        [17, 1],
      ],
    );
    t.strictSame(
      batch.map(({ sequence }) => sequence - (batch[0]?.sequence ?? 0)),
      [0, 1, 2, 3, 4],
    );
    // res_id is NFNL_SUBSYS_NFTABLES, the attribute NFNL_BATCH_GENID
    t.equal(batch[0]?.payload.toString('hex'), '0000000a0800010001020304');
    t.equal(batch[4]?.payload.toString('hex'), '0000000a');
    t.equal(batch[1]?.payload.toString('hex', 0, 4), '01000000', 'family inet');
    t.equal(
      bytes,
      batch.reduce((sum, { payload }) => sum + NLMSG_HEADER + payload.length, 0),
    );
    t.equal(generation, 0x01020305, 'and tells the generation that it made');
  },
);

t.test('a dry run has no end, so that the kernel keeps nothing of it', async t => {
  const { connection, sent } = connect(kernel());
  await commit(connection, BATCH, { generation: 7, dryRun: true });
  t.strictSame(
    sent[0]?.map(({ type }) => type),
    [16, 0xa00, 0xa03, 0xa06],
  );
});

t.test('a commit of another program right after a transaction does not pass for it', async t => {
  const { connection } = connect(kernel()); // it is at 8 when it is asked
  const after = async (generation: number) => (await commit(connection, BATCH, { generation })).generation;
  t.equal(await after(7), 8, 'nobody else');
  t.equal(await after(6), 7, 'somebody else since');
  t.equal(await after(8), 8, 'it changed nothing');
  t.equal(await after(0xffffffff), 1, 'the numbers begin again, without 0');
  t.equal(await after(ANY_GENERATION), 8, 'for whatever generation: the present one');
});

t.test('a transaction for an old generation is a StaleGenerationError', async t => {
  const { connection } = connect(kernel(([begin]) => (begin ? [answer(begin, ERESTART)] : [])));
  await t.rejects(commit(connection, BATCH, { generation: 7 }), StaleGenerationError);
});

t.test('ERESTART of another message is no stale generation', async t => {
  const { connection } = connect(kernel(([, table]) => (table ? [answer(table, ERESTART)] : [])));
  await t.rejects(commit(connection, BATCH, { generation: 7 }), { name: 'NetlinkError', code: 'ERESTART' });
});

t.test('a lack of permission is reported for the transaction, and exits with 77', async t => {
  const { connection } = connect(kernel(([begin]) => (begin ? [answer(begin, EPERM)] : [])));
  const error: unknown = await commit(connection, BATCH, { generation: 7 }).catch(error => error);
  t.match(error, { message: 'transaction: operation not permitted (EPERM)' });
  t.match(failureOf(error), { exit: 77, lines: [/CAP_NET_ADMIN/] });
});

/** The offset of the expression in the message of its rule, from the start of the message. */
function offsetOf(index: number, into: number): number {
  const { datagram, starts } = encodeBatch(BATCH, { firstSequence: 1, generation: 7 });
  const start = starts[3] ?? 0;
  const reader = new AttributeReader(datagram, start + NLMSG_HEADER + 4, starts[4]);
  while (reader.next())
    if (reader.type === 4) {
      const list = reader.nested();
      for (let at = 0; at <= index; at++) list.next();
      return list.offset + into - start;
    }
  throw new Error('no expressions');
}

t.test(
  'an error in a rule names the chain, the rule and the expression that the kernel points at',
  async t => {
    for (const [index, kind] of ['meta', 'cmp', 'socket'].entries())
      for (const into of [-4, 0, 4, 16]) {
        const offset = offsetOf(index, into);
        const { connection } = connect(
          kernel(([, , , rule]) => (rule ? [answer(rule, ENOENT, { offset })] : [])),
        );
        await t.rejects(commit(connection, BATCH, { generation: 7 }), {
          message: `chain stray: rule 4: expression ${index + 1} (${kind}): no such file or directory (ENOENT)`,
          failure: {
            subject: 'chain stray: rule 4',
            errno: ENOENT,
            part: { name: `expression ${index + 1}`, kind },
          },
        });
      }
  },
);

t.test('an offset outside of all expressions names none', async t => {
  for (const offset of [20, 100_000]) {
    const { connection } = connect(
      kernel(([, , , rule]) => (rule ? [answer(rule, ENOENT, { offset })] : [])),
    );
    const error: unknown = await commit(connection, BATCH, { generation: 7 }).catch(error => error);
    t.ok(error instanceof NetlinkError);
    if (error instanceof NetlinkError) t.equal(error.failure.part, undefined);
  }
});

t.test('the first of several errors is reported', async t => {
  const { connection } = connect(
    kernel(([, table, chain, rule]) =>
      table && chain && rule ? [answer(chain, EEXIST), answer(rule, ENOENT), answer(rule, 0)] : [],
    ),
  );
  await t.rejects(commit(connection, BATCH, { generation: 7 }), {
    message: 'chain stray: file already exists (EEXIST)',
  });
});

t.test('errors of one transaction are not told for the next', async t => {
  let round = 0;
  const { connection } = connect(
    kernel(([, table]) => (table && round++ === 0 ? [answer(table, EEXIST)] : [])),
  );
  await t.rejects(commit(connection, BATCH, { generation: 7 }), { code: 'EEXIST' });
  await t.resolves(commit(connection, BATCH, { generation: 7 }));
});

t.test('a transaction that the kernel does not acknowledge is an error', async t => {
  const { connection } = connect(sent => kernel()(sent).filter(() => sent.length === 1));
  await t.rejects(commit(connection, BATCH, { generation: 7 }), { message: /did not answer/ });
});

const refused = (errno: number, part?: Part) =>
  new NetlinkError({ subject: 'chain stray: rule 4', errno, ...(part && { part }) });

t.test('a feature that the kernel lacks is named, with the Linux that has it', async t => {
  for (const [kind, words] of [
    ['socket', /socket expression.*Linux 5\.10/],
    ['dynset', /Linux 5\.4/],
    ['fib', /nft_fib_inet, Linux 4\.10/],
    ['ct', /connection tracking.*Linux 3\.14/],
    ['limit', /Linux 3\.13/],
    ['log', /Linux 3\.17/],
    ['objref', /Linux 4\.10/],
    ['payload', /"payload" of tokens.*Linux 5\.16/],
    ['reject', /nft_reject_inet/],
  ] as const)
    for (const errno of [ENOENT, EOPNOTSUPP]) {
      const error = refused(errno, { name: 'expression 3', kind });
      const feature = missingFeature(error);
      t.match(feature && featureText(feature), words);
      t.match(failureOf(error), {
        exit: 1,
        lines: [
          /^knockd-nft: the kernel refuses chain stray: rule 4: expression 3 \(.*it lacks .*nothing was changed$/,
        ],
      });
    }
});

t.test('a kernel without nf_tables, or without its tables for both families, is reported', async t => {
  const told = (subject: string, errno: number) => failureOf(new NetlinkError({ subject, errno })).lines;
  const { connection } = connect(([only]) => (only ? [answer(only, EINVAL)] : []));
  const refusal: unknown = await readGeneration(connection).catch(error => error);
  t.match(failureOf(refusal), { exit: 1, lines: [/it lacks nf_tables \(module nf_tables/] });
  t.match(told('table knockd', EOPNOTSUPP), [/it lacks tables of family inet.*CONFIG_NF_TABLES_INET/]);
  t.match(told('counter ssh_opened', ENOENT), [
    /it lacks named counters \(modules nft_objref and nft_counter/,
  ]);
  t.notMatch(told('chain input', EINVAL), [/lacks/]);
});

t.test('other refusals do not blame a feature', async t => {
  t.equal(missingFeature(refused(EEXIST, { name: 'expression 3', kind: 'socket' })), undefined);
  t.equal(missingFeature(refused(ENOENT, { name: 'expression 3', kind: 'cmp' })), undefined);
  t.equal(missingFeature(refused(ENOENT)), undefined);
  t.notMatch(failureOf(refused(EEXIST)).lines, [/lacks/]);
});

t.test('failures of a transaction are reported in one sentence, without a stack', async t => {
  for (const error of [refused(EEXIST), new StaleGenerationError(), new TransactionTooLargeError(5)]) {
    const { lines, exit } = failureOf(error);
    t.equal(exit, 1);
    t.equal(lines.length, 1);
    t.match(lines[0], /^knockd-nft: [^\n]+$/);
  }
  t.match(failureOf(new Error('odd')).lines, [/odd/, /^ +at /], 'but what nobody expected has one');
});
