/** The features that a kernel lacks, with kernels that lack them: the one at hand has them all. */

import t from 'tap';
import { Connection } from '../../src/netlink/connection.ts';
import { encodeHeader, NLMSG_HEADER } from '../../src/netlink/datagram.ts';
import { attributesOf } from '../../src/netlink/nfnetlink.ts';
import { NFT_MSG } from '../../src/nftables/message.ts';
import type { Table } from '../../src/nftables/ruleset.ts';
import { decodeTable } from '../../src/nftables/table.ts';
import { probe, refuseForgetful } from '../../src/table/probe.ts';

const [NLMSG_ERROR, NLMSG_DONE, NLM_F_ACK, GETGEN, BATCH_END, EOPNOTSUPP] = [2, 3, 4, (10 << 8) | 16, 17, 95];

/** A kernel that refuses each message with one of these words in it, and commits nothing. */
function lacking(...words: readonly string[]) {
  let listener: (datagram: Buffer) => void = () => {};
  let committed = false;
  let transactions = 0;
  const tell = (type: number, sequence: number, payload: Buffer) =>
    setImmediate(() =>
      listener(Buffer.concat([encodeHeader(NLMSG_HEADER + payload.length, type, 0, sequence), payload])),
    );
  const connection = new Connection({
    async send(datagram) {
      for (let at = 0; at < datagram.length; ) {
        const message = datagram.subarray(at, at + datagram.readUInt32LE(at));
        const [type, flags, sequence] = [
          message.readUInt16LE(4),
          message.readUInt16LE(6),
          message.readUInt32LE(8),
        ];
        const error = Buffer.alloc(4 + NLMSG_HEADER);
        committed ||= type === BATCH_END;
        if (type === GETGEN)
          tell((10 << 8) | 15, sequence, Buffer.from([0, 0, 0, 0, 8, 0, 1, 0, 0, 0, 0, 1]));
        else if (words.some(word => message.includes(`${word}\0`))) {
          error.writeInt32LE(-EOPNOTSUPP);
          tell(NLMSG_ERROR, sequence, error);
        } else if (flags & NLM_F_ACK) tell(NLMSG_ERROR, sequence, error);
        if (at === 0 && type !== GETGEN) transactions++;
        at += (message.length + 3) & ~3;
      }
      await new Promise<void>(resolve => {
        setImmediate(() => setImmediate(resolve));
      });
    },
    onDatagram(receive) {
      listener = receive;
    },
    close() {},
  });
  return { connection, isCommitted: () => committed, transactions: () => transactions };
}

/** A kernel that has tables and nothing in them; one before Linux 5.10 keeps no comment of a table. */
function forgetful({ comments }: { readonly comments: boolean }) {
  const kept = new Map<string, Table & { readonly payload: Buffer }>();
  let asked = 0;
  let listener: (datagram: Buffer) => void = () => {};
  const tell = (type: number, sequence: number, payload: Buffer) =>
    setImmediate(() =>
      listener(Buffer.concat([encodeHeader(NLMSG_HEADER + payload.length, type, 0, sequence), payload])),
    );
  const connection = new Connection({
    async send(datagram) {
      asked++;
      for (let at = 0; at < datagram.length; ) {
        const message = datagram.subarray(at, at + datagram.readUInt32LE(at));
        const payload = message.subarray(NLMSG_HEADER);
        const [type, flags, sequence] = [
          message.readUInt16LE(4),
          message.readUInt16LE(6),
          message.readUInt32LE(8),
        ];
        if (type === GETGEN)
          tell((10 << 8) | 15, sequence, Buffer.from([0, 0, 0, 0, 8, 0, 1, 0, 0, 0, 0, 1]));
        else if (type === NFT_MSG.GETTABLE) {
          for (const { payload } of kept.values()) tell(NFT_MSG.NEWTABLE, sequence, payload);
          tell(NLMSG_DONE, sequence, Buffer.alloc(4));
        } else {
          if (type === NFT_MSG.NEWTABLE || type === NFT_MSG.DELTABLE) {
            const table = decodeTable(attributesOf(payload));
            const end = comments
              ? payload.length
              : payload.indexOf(table.name) + ((table.name.length + 4) & ~3);
            if (type === NFT_MSG.DELTABLE) kept.delete(table.name);
            else kept.set(table.name, { ...table, payload: payload.subarray(0, end) });
          }
          if (flags & NLM_F_ACK) tell(NLMSG_ERROR, sequence, Buffer.alloc(4 + NLMSG_HEADER));
        }
        at += (message.length + 3) & ~3;
      }
      await new Promise<void>(resolve => {
        setImmediate(() => setImmediate(resolve));
      });
    },
    onDatagram(receive) {
      listener = receive;
    },
    close() {},
  });
  return { connection, tables: () => [...kept.keys()], asked: () => asked };
}

t.test('a kernel that has it all is asked once', async t => {
  const { connection, isCommitted, transactions } = lacking();
  t.strictSame(await probe(connection), []);
  t.equal(transactions(), 1);
  t.equal(isCommitted(), false);
});

t.test('each thing that is missing is named, and nothing else', async t => {
  for (const [words, expected] of [
    [['socket'], [/^the socket expression .*Linux 5\.10/]],
    [
      ['fib', 'log'],
      [/^the fib expression/, /^logging/],
    ],
    [
      ['ct', 'objref', 'limit', 'reject', 'dynset'],
      [/^connection tracking/, /^named counters/, /^rate limits/, /^reject/, /^sets/],
    ],
  ] as const) {
    const { connection, isCommitted } = lacking(...words);
    const found = await probe(connection);
    t.match(found, [...expected]);
    t.equal(found.length, expected.length);
    t.equal(isCommitted(), false);
  }
});

t.test('if not even a table can be made, tables are reported as missing', async t => {
  const { connection } = lacking(`knockd_nft_probe_${process.pid}`);
  const found = await probe(connection);
  t.equal(found.length, 1);
  t.match(found[0], /^tables of family inet.*table knockd_nft_probe_\d+: .*ENOTSUP/);
});

t.test(
  'a kernel that forgets the comments of tables is refused, since nobody would know ours again',
  async t => {
    const { connection } = forgetful({ comments: false });
    await t.rejects(refuseForgetful(connection, '5.4.0-150-generic'), {
      name: 'CannotChangeError',
      message: /Linux 5\.4\.0-150-generic forgets .* 5\.10 or newer is needed; nothing was changed/,
    });
  },
);

t.test(
  'a kernel that keeps them is accepted under any release, and nothing of the question is left',
  async t => {
    const { connection, tables } = forgetful({ comments: true });
    await refuseForgetful(connection, '4.18.0-553.el8_10.x86_64');
    t.strictSame(tables(), []);
  },
);

t.test('from Linux 5.10 on nothing is asked', async t => {
  const { connection, asked } = forgetful({ comments: false });
  for (const release of ['5.10.0-46-cloud-amd64', '6.1.0', '10.0.1+deb15'])
    await refuseForgetful(connection, release);
  t.equal(asked(), 0);
});
