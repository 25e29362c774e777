import t from 'tap';
import { DecodeError } from '../../src/netlink/attributes.ts';
import { Connection } from '../../src/netlink/connection.ts';
import { encodeHeader, NLMSG_HEADER } from '../../src/netlink/datagram.ts';
import { readLinks } from '../../src/netlink/link.ts';
import { readHooks } from '../../src/netlink/route.ts';
import type { Socket } from '../../src/netlink/socket.ts';

const NLMSG_DONE = 3;
const NLM_F_MULTI = 2;

/** Answers each dump with one message of this payload. */
function answering(payload: Buffer): Connection {
  let listener: (datagram: Buffer) => void = () => {};
  const socket: Socket = {
    async send(datagram) {
      const sequence = datagram.readUInt32LE(8);
      const header = (size: number, type: number) =>
        encodeHeader(NLMSG_HEADER + size, type, NLM_F_MULTI, sequence);
      listener(Buffer.concat([header(payload.length, 16), payload]));
      listener(Buffer.concat([header(4, NLMSG_DONE), Buffer.alloc(4)]));
    },
    onDatagram(next) {
      listener = next;
    },
    close() {},
  };
  return new Connection(socket);
}

t.test('an interface that is cut short, or whose numbers are, is refused in words', async t => {
  const header = Buffer.alloc(16);
  const master = Buffer.from('06000a0001000000', 'hex'); // IFLA_MASTER with two bytes instead of four
  for (const payload of [Buffer.alloc(0), Buffer.alloc(15), Buffer.concat([header, master])])
    for (const read of [readLinks, readHooks])
      await t.rejects(
        async () => void (await read(answering(payload))),
        DecodeError,
        `${payload.length} bytes`,
      );
  t.match(await readLinks(answering(header)), [{ index: 0, name: '' }]);
});
