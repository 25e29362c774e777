/** The few calls of libc that Node.js does not offer, through koffi. 64-bit little-endian Linux only. */
import { closeSync, openSync } from 'node:fs';
import { getSystemErrorName } from 'node:util';
import koffi from 'koffi';
import { addressBytes } from './packet.ts';

const AF_INET = 2; // <sys/socket.h>
const AF_INET6 = 10;
const AF_PACKET = 17;
const SOCK_STREAM = 1;
const SOCK_DGRAM = 2;
const SOCK_RAW = 3;
const SOCK_NONBLOCK = 0o4000;
const SOCK_CLOEXEC = 0o2000000;
const IPPROTO_TCP = 6; // <linux/in.h>
const TCP_FASTOPEN_CONNECT = 30; // <linux/tcp.h>
const IPPROTO_RAW = 255; // <linux/in.h>: the header is included, in both families
const IPPROTO_MPTCP = 262; // <linux/in.h>
const ETH_P_ALL_BE = 0x0300; // <linux/if_ether.h>: htons(ETH_P_ALL)
const SOL_SOCKET = 1; // <asm-generic/socket.h>
const SO_BROADCAST = 6;
const IPPROTO_IPV6 = 41; // <linux/in.h>
const IPV6_TRANSPARENT = 75; // <linux/in6.h>
const SOL_PACKET = 263; // <linux/socket.h>
const PACKET_IGNORE_OUTGOING = 23; // <linux/if_packet.h>
const SIOCGSTAMP = 0x8906; // <asm-generic/sockios.h>
const POLLIN = 1; // <poll.h>
const CLONE_NEWNET = 0x40000000; // <linux/sched.h>
const ENOBUFS = koffi.os.errno.ENOBUFS ?? 105;
const EINTR = koffi.os.errno.EINTR ?? 4;
const EAGAIN = koffi.os.errno.EAGAIN ?? 11;

const library = koffi.load(null);
const libc = {
  socket: library.func('int socket(int, int, int)'),
  bind: library.func('int bind(int, void *, unsigned int)'),
  listen: library.func('int listen(int, int)'),
  close: library.func('int close(int)'),
  poll: library.func('int poll(void *, unsigned long, int)'),
  sendmmsg: library.func('int sendmmsg(int, void *, unsigned int, int)'),
  setsockopt: library.func('int setsockopt(int, int, int, void *, unsigned int)'),
  ioctl: library.func('int ioctl(int, unsigned long, void *)'),
  recv: library.func('long recv(int, void *, size_t, int)'),
  send: library.func('long send(int, void *, size_t, int)'),
  ifNametoindex: library.func('unsigned int if_nametoindex(const char *)'),
  setns: library.func('int setns(int, int)'),
  schedGetaffinity: library.func('int sched_getaffinity(int, size_t, void *)'),
  schedSetaffinity: library.func('int sched_setaffinity(int, size_t, void *)'),
};

function check(call: string, result: number): number {
  if (result >= 0) return result;
  throw new Error(`${call}: ${getSystemErrorName(-koffi.errno())}`);
}

function setOption(socket: number, level: number, option: number): void {
  const on = Buffer.from([1, 0, 0, 0]);
  check('setsockopt', libc.setsockopt(socket, level, option, on, on.length));
}

/**
 * Keeps this thread on one processor. The kernel processes a packet over veth on the processor that sent it. So packets
 * from one host arrive in the order in which they were sent.
 */
export function stayOnOneProcessor(number = process.pid): void {
  const mask = Buffer.alloc(128);
  const length = check('sched_getaffinity', libc.schedGetaffinity(0, mask.length, mask));
  const processors = [...Array(length * 8).keys()].filter(bit => (mask[bit >> 3] ?? 0) & (1 << (bit & 7)));
  const chosen = processors[number % processors.length];
  if (chosen === undefined) return;
  mask.fill(0);
  mask[chosen >> 3] = 1 << (chosen & 7);
  check('sched_setaffinity', libc.schedSetaffinity(0, mask.length, mask));
}

/** Moves this thread, and no other, into a network namespace. */
export function enterNetwork(path: string): void {
  const namespace = openSync(path, 'r');
  check('setns', libc.setns(namespace, CLONE_NEWNET));
  closeSync(namespace);
}

/** struct sockaddr_in or sockaddr_in6, in 28 bytes. */
function socketAddress(address: Uint8Array, port: number): Buffer {
  const bytes = Buffer.alloc(28);
  bytes.writeUInt16LE(address.length === 4 ? AF_INET : AF_INET6, 0);
  bytes.writeUInt16BE(port, 2);
  bytes.set(address, address.length === 4 ? 4 : 8);
  return bytes;
}

const slots = 256; // messages in one sendmmsg
const slotSize = 2048;
const messageSize = 64; // struct mmsghdr: struct msghdr (56), msg_len, padding
const memory = Buffer.alloc(slots * (messageSize + 16 + 32 + slotSize));
const vectorsAt = slots * messageSize;
const namesAt = vectorsAt + slots * 16;
const packetsAt = namesAt + slots * 32;

/** Sends packets that were written byte by byte, from the IP header on, 256 in a system call. */
export class PacketSender {
  readonly #sockets = { 4: -1, 16: -1 };
  readonly #names = new Map<string, Buffer>();
  #family: 4 | 16 = 4;
  #filled = 0;
  #flushed = 0;
  sent = 0;

  constructor() {
    const start = koffi.address(memory);
    for (let slot = 0; slot < slots; slot++) {
      const message = slot * messageSize;
      const vector = vectorsAt + slot * 16;
      memory.writeBigUInt64LE(start + BigInt(namesAt + slot * 32), message);
      memory.writeBigUInt64LE(start + BigInt(vector), message + 16);
      memory.writeBigUInt64LE(1n, message + 24);
      memory.writeBigUInt64LE(start + BigInt(packetsAt + slot * slotSize), vector);
    }
  }

  /**
   * Takes one packet of `length` bytes to `address`. `write` puts it into the given memory at the given offset. Nothing is sent
   * until the batch is full, or until `flush`.
   */
  add(address: string, length: number, write: (target: Buffer, offset: number) => void): void {
    let name = this.#names.get(address);
    if (!name) {
      name = socketAddress(addressBytes(address), 0);
      if (this.#names.size > 1000) this.#names.clear();
      this.#names.set(address, name);
    }
    const family = name.readUInt16LE(0) === AF_INET ? 4 : 16;
    if (family !== this.#family || this.#filled === slots) this.flush();
    this.#family = family;
    const slot = this.#filled++;
    memory.set(name, namesAt + slot * 32);
    memory.writeUInt32LE(family === 4 ? 16 : 28, slot * messageSize + 8);
    memory.writeBigUInt64LE(BigInt(length), vectorsAt + slot * 16 + 8);
    write(memory, packetsAt + slot * slotSize);
  }

  /** Sends all packets so far. After ENOBUFS it tries again: the sender is only faster than the wire. */
  flush(): void {
    const socket = this.#socket();
    for (let done = 0; done < this.#filled; ) {
      const count = libc.sendmmsg(socket, memory.subarray(done * messageSize), this.#filled - done, 0);
      if (count >= 0) done += count;
      else if (![ENOBUFS, EINTR, EAGAIN].includes(koffi.errno())) {
        this.#filled = 0;
        check('sendmmsg', count);
      }
    }
    this.sent += this.#filled;
    this.#flushed = this.#filled;
    this.#filled = 0;
  }

  /** Sends once more what the last flush sent, which costs no more than the system call. */
  repeat(): void {
    this.#filled = this.#flushed;
    this.flush();
  }

  #socket(): number {
    if (this.#sockets[this.#family] < 0) {
      const family = this.#family === 4 ? AF_INET : AF_INET6;
      const socket = check('raw socket', libc.socket(family, SOCK_RAW | SOCK_CLOEXEC, IPPROTO_RAW));
      setOption(socket, SOL_SOCKET, SO_BROADCAST);
      this.#sockets[this.#family] = socket;
    }
    return this.#sockets[this.#family];
  }
}

/**
 * Receives packets that come in on all interfaces of this network namespace, from its construction on. Its queue takes about
 * 200 packets, so a flood overflows it.
 */
export class PacketReceiver {
  readonly #socket = check(
    'packet socket',
    libc.socket(AF_PACKET, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, ETH_P_ALL_BE),
  );
  readonly #buffer = Buffer.alloc(65536);

  constructor() {
    setOption(this.#socket, SOL_PACKET, PACKET_IGNORE_OUTGOING);
  }

  /** The next packet that came in, from its IP header on, or undefined if none comes before `deadline`. */
  async next(deadline: number): Promise<Buffer | undefined> {
    for (;;) {
      const length = libc.recv(this.#socket, this.#buffer, this.#buffer.length, 0);
      if (length >= 0) return Buffer.from(this.#buffer.subarray(0, length));
      if (koffi.errno() !== EAGAIN) check('recv', length);
      const left = deadline - performance.now();
      if (left <= 0) return undefined;
      await this.#readable(Math.ceil(left));
    }
  }

  /** When the last one came in, according to the kernel: milliseconds on the clock of `Date.now`. */
  arrival(): number {
    const time = Buffer.alloc(16); // struct timeval
    check('ioctl', libc.ioctl(this.#socket, SIOCGSTAMP, time));
    return Number(time.readBigInt64LE(0)) * 1000 + Number(time.readBigInt64LE(8)) / 1000;
  }

  #readable(milliseconds: number): Promise<void> {
    const descriptor = Buffer.alloc(8); // struct pollfd
    descriptor.writeInt32LE(this.#socket, 0);
    descriptor.writeInt16LE(POLLIN, 4);
    return new Promise((resolve, reject) => {
      libc.poll.async(descriptor, 1, milliseconds, (error: Error | null) =>
        error ? reject(error) : resolve(),
      );
    });
  }

  close(): void {
    libc.close(this.#socket);
  }
}

/** Sends Ethernet frames, as they are, from an interface of this network namespace. */
export function sendFrames(interfaceName: string, frames: readonly Uint8Array[]): void {
  const socket = check('packet socket', libc.socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, 0));
  const name = Buffer.alloc(20); // struct sockaddr_ll
  name.writeUInt16LE(AF_PACKET, 0);
  name.writeInt32LE(libc.ifNametoindex(interfaceName), 4);
  try {
    check('bind', libc.bind(socket, name, name.length));
    for (const frame of frames) check('send', libc.send(socket, frame, frame.length, 0));
  } finally {
    libc.close(socket);
  }
}

/** A TCP listener that never accepts. Its queue takes `backlog` + 1 connections, and is then full. */
export function deafListener(address: string, port: number, backlog: number): { close(): void } {
  const socket = boundSocket(address, port, 0);
  check('listen', libc.listen(socket, backlog));
  return { close: () => libc.close(socket) };
}

/** The descriptor of a socket that is bound there, to listen for connections of multipath TCP, and plain ones. */
export function multipathListener(address: string, port: number): number {
  return boundSocket(address, port, IPPROTO_MPTCP);
}

/** The descriptor of a socket that is bound there, in both families, and that TPROXY may give connections to other addresses and ports. */
export function transparentListener(port: number): number {
  const socket = boundSocket('::', port, 0);
  setOption(socket, IPPROTO_IPV6, IPV6_TRANSPARENT);
  return socket;
}

/** The descriptor of a socket of multipath TCP, to connect with. */
export function multipathSocket(address: string): number {
  const family = addressBytes(address).length === 4 ? AF_INET : AF_INET6;
  return check('socket', libc.socket(family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, IPPROTO_MPTCP));
}

/** The descriptor of a socket that connects with its first segment of data. */
export function fastOpenSocket(address: string): number {
  const family = addressBytes(address).length === 4 ? AF_INET : AF_INET6;
  const socket = check('socket', libc.socket(family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  setOption(socket, IPPROTO_TCP, TCP_FASTOPEN_CONNECT);
  return socket;
}

function boundSocket(address: string, port: number, protocol: number): number {
  const name = socketAddress(addressBytes(address), port);
  const family = name.readUInt16LE(0);
  const socket = check('socket', libc.socket(family, SOCK_STREAM | SOCK_CLOEXEC, protocol));
  check('bind', libc.bind(socket, name, family === AF_INET ? 16 : 28));
  return socket;
}
