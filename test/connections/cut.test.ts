/**
 * `cut` with a kernel that cannot do all: over sockets whose kernel is the test. test/kernel/cut has the kernel's own
 * abilities.
 */
import t from 'tap';
import { cut, whyNotCut } from '../../src/connections/cut.ts';
import { Connection } from '../../src/netlink/connection.ts';
import { encodeHeader } from '../../src/netlink/datagram.ts';

const NLMSG_ERROR = 2;
const NLMSG_DONE = 3;
const [ENOENT, EINVAL, EOPNOTSUPP] = [2, 22, 95];
const SOCK_DESTROY = 21;
const FIN_WAIT2 = 5;

interface Sent {
  readonly type: number;
  readonly sequence: number;
  readonly payload: Buffer;
}

function message(type: number, { sequence }: Sent, payload: Buffer): Buffer {
  return Buffer.concat([encodeHeader(16 + payload.length, type, 0, sequence), payload]);
}

function refusal(to: Sent, errno: number): Buffer {
  const payload = Buffer.alloc(20);
  payload.writeInt32LE(-errno);
  return message(NLMSG_ERROR, to, payload);
}

const done = (to: Sent) => message(NLMSG_DONE, to, Buffer.alloc(4));

function connect(kernel: (sent: Sent) => readonly Buffer[]): Connection {
  let listener: (datagram: Buffer) => void = () => {};
  return new Connection({
    async send(datagram) {
      const sent = {
        type: datagram.readUInt16LE(4),
        sequence: datagram.readUInt32LE(8),
        payload: datagram.subarray(16),
      };
      for (const answer of kernel(sent)) setImmediate(() => listener(answer));
    },
    onDatagram(receive) {
      listener = receive;
    },
    close() {},
  });
}

/** `struct inet_diag_msg` of a connection from 192.0.2.7 port 5000 to us, 192.0.2.1 port 22. */
const socket = Buffer.alloc(72);
socket.writeUInt8(2, 0);
socket.writeUInt16BE(22, 4);
socket.writeUInt16BE(5000, 6);
socket.set([192, 0, 2, 1], 8);
socket.set([192, 0, 2, 7], 24);

const everywhere = connect(sent => [message(24, sent, Buffer.from([2, 32, 0, 0, 254, 0, 0, 1, 0, 0, 0, 0]))]);
const targets = { ports: new Set(['22/tcp']), beforeDnat: false, isMeant: () => true };

/** A kernel with one TCP socket and no UDP diagnostics, that answers SOCK_DESTROY with an errno. */
function diagnosing(errno: number, there = socket): Connection {
  let gone = false;
  return connect(sent => {
    const [family, protocol] = sent.payload;
    if (sent.type === SOCK_DESTROY) {
      gone = errno === 0 || errno === ENOENT;
      return [refusal(sent, errno)];
    }
    if (protocol === 17) return [refusal(sent, ENOENT)];
    return family === 2 && !gone ? [message(20, sent, there), done(sent)] : [done(sent)];
  });
}

t.test('if a kernel cannot end sockets, each of them is reported', async t => {
  const { sockets, left, anew, untracked, tracksOn } = await cut(
    { netfilter: connect(sent => [done(sent)]), diagnostics: diagnosing(EOPNOTSUPP), routes: everywhere },
    targets,
  );
  t.same({ sockets, untracked, tracksOn }, { sockets: 0, untracked: [], tracksOn: false });
  t.match(left.map(whyNotCut), [/lacks CONFIG_INET_DIAG_DESTROY.*"ss -tnp"/]);
  t.equal(left.length, 1);
  t.equal(anew, 0, 'which is no new one');
});

t.test('the rest of a socket that its program closed is no connection that goes on', async t => {
  const kernel = diagnosing(EOPNOTSUPP, Buffer.from(socket).fill(FIN_WAIT2, 1, 2));
  const parts = { netfilter: connect(sent => [done(sent)]), diagnostics: kernel, routes: everywhere };
  t.match(await cut(parts, targets), { sockets: 0, left: [], anew: 0 });
});

t.test('a socket that ended by itself is neither cut nor left, and no conntrack is no hindrance', async t => {
  const netfilter = connect(sent => [refusal(sent, EINVAL)]);
  const gone = await cut({ netfilter, diagnostics: diagnosing(ENOENT), routes: everywhere }, targets);
  t.match(gone, { sockets: 0, left: [], untracked: [] });
  const ended = await cut({ netfilter, diagnostics: diagnosing(0), routes: everywhere }, targets);
  t.match(ended, { sockets: 1, left: [], untracked: [], anew: 0 });
});

t.test('a connection that is there again at each look is reported', async t => {
  const netfilter = connect(sent => [refusal(sent, EINVAL)]);
  const diagnostics = connect(sent => {
    const [family, protocol] = sent.payload;
    if (sent.type === SOCK_DESTROY) return [refusal(sent, 0)];
    if (protocol === 17) return [refusal(sent, ENOENT)];
    return family === 2 ? [message(20, sent, socket), done(sent)] : [done(sent)];
  });
  const { left, anew } = await cut({ netfilter, diagnostics, routes: everywhere }, targets);
  t.same({ left, anew }, { left: [], anew: 1 });
});
