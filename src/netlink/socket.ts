import { readdirSync, readFileSync, readlinkSync } from 'node:fs';
import { RawNetlinkSocket } from 'netlink/dist/raw.js';
import { errno, getsockopt, SOCK_FPROG, setFilter, setsockopt } from '../libc/libc.ts';
import { NetlinkError, TransactionTooLargeError } from './errors.ts';

/** A netlink socket: datagrams in and out, in order. */
export interface Socket {
  /** Sends one datagram to the kernel, which has processed it when the promise resolves. */
  send(datagram: Buffer): Promise<void>;
  /** Sets the listener for what the kernel sends. The event loop calls it, with one datagram at a time. */
  onDatagram(listener: (datagram: Buffer) => void): void;
  close(): void;
}

/** A socket to the kernel itself. */
export interface KernelSocket extends Socket {
  /** How many datagrams the kernel had no room for. */
  lost(): number;
}

/** enum of netlink families, include/uapi/linux/netlink.h */
export const NETLINK_ROUTE = 0;
export const NETLINK_SOCK_DIAG = 4;
export const NETLINK_NETFILTER = 12;

// include/uapi/asm-generic/socket.h and include/uapi/linux/netlink.h
const SOL_SOCKET = 1;
const SO_SNDBUF = 7;
const SO_ATTACH_FILTER = 26;
const SO_MEMINFO = 55;
/** SK_MEMINFO_DROPS of SK_MEMINFO_VARS, include/uapi/linux/sock_diag.h */
const DROPS = 8;
const MEMINFO = 9 * 4;
const SO_RCVBUF = 8;
const SO_SNDBUFFORCE = 32;
const SO_RCVBUFFORCE = 33;
const SOL_NETLINK = 270;
const NETLINK_NO_ENOBUFS = 5;
const NETLINK_CAP_ACK = 10;
const NETLINK_EXT_ACK = 11;

const EMSGSIZE = 90;
/**
 * The kernel fills each datagram of a dump up to what its reader has room for, at most this. For each datagram it looks
 * for its place in the set again: with datagrams of a page, sets of 65,535 elements take seconds (af_netlink.c,
 * netlink_recvmsg).
 */
const DATAGRAM = 32 * 1024;
/** 0 for options that we set ourselves below. */
const OPTIONS = { messagePeeking: false, msgBufferSize: DATAGRAM, recvBufferSize: 0, sendBufferSize: 0 };
const RECEIVE_BUFFER = 8 * 1024 * 1024;
/** The size of a datagram that the kernel allows unasked: the smallest of the usual defaults. */
const SEND_BUFFER = 128 * 1024;

/** The number of lost datagrams; 0 if the kernel does not say. */
function readDrops(fd: number): number {
  const memory = Buffer.alloc(MEMINFO);
  return getsockopt(fd, SOL_SOCKET, SO_MEMINFO, memory, [MEMINFO]) === 0 ? memory.readUInt32LE(DROPS * 4) : 0;
}

function setOption(fd: number, level: number, name: number, value: number): boolean {
  return setsockopt(fd, level, name, [value], 4) === 0;
}

/** Instructions of include/uapi/linux/filter.h: load 2 bytes in network order, skip one instruction unless equal, return. */
const BPF = { LDH_ABS: 0x28, JEQ: 0x15, RET: 0x06 } as const;
/** The offset of the type in `struct nlmsghdr`. */
const TYPE = 4;

/** Makes the kernel drop datagrams that begin with a message of this type. */
function dropType(fd: number, type: number): void {
  const program = [
    [BPF.LDH_ABS, 0, TYPE],
    [BPF.JEQ, 1, ((type & 0xff) << 8) | (type >> 8)],
    [BPF.RET, 0, 0],
    [BPF.RET, 0, 0xffffffff],
  ] as const;
  const filter = Buffer.alloc(program.length * 8);
  for (const [index, [code, skip, value]] of program.entries()) {
    filter.writeUInt16LE(code, index * 8);
    filter.writeUInt8(skip, index * 8 + 3);
    filter.writeUInt32LE(value, index * 8 + 4);
  }
  if (setFilter(fd, SOL_SOCKET, SO_ATTACH_FILTER, { len: program.length, filter }, SOCK_FPROG) !== 0)
    throw refused(errno());
}

/**
 * Opens a socket of npm `netlink`. No other place knows that package.
 *
 * Its native part ends the process, uncatchably, when the receive buffer overruns (ENOBUFS) and when a listener throws.
 * So ENOBUFS is switched off, the buffer is large, and the listener only queues. The package does not show its
 * descriptor, so we look for the one whose inode `/proc/self/net/netlink` lists for our port.
 *
 * With a `group`, the socket also gets what the kernel sends to all members of that group, but no datagrams that begin with a
 * message of type `without`.
 */
export function openSocket(protocol: number, group?: number, without?: number): KernelSocket {
  const raw = refusing(() => new RawNetlinkSocket(protocol, OPTIONS));
  let fd: number;
  try {
    fd = findDescriptor(protocol, refusing(() => raw.address()).port);
    if (!setOption(fd, SOL_NETLINK, NETLINK_NO_ENOBUFS, 1)) throw refused(errno());
    if (without !== undefined) dropType(fd, without);
  } catch (error) {
    raw.close();
    throw error;
  }
  setOption(fd, SOL_NETLINK, NETLINK_CAP_ACK, 1);
  setOption(fd, SOL_NETLINK, NETLINK_EXT_ACK, 1);
  if (!setOption(fd, SOL_SOCKET, SO_RCVBUFFORCE, RECEIVE_BUFFER))
    setOption(fd, SOL_SOCKET, SO_RCVBUF, RECEIVE_BUFFER);

  if (group !== undefined) raw.addMembership(group);

  // without a listener an 'error' event would throw inside the native callback
  raw.on('error', () => {});
  return {
    send: datagram =>
      new Promise((resolve, reject) => {
        if (datagram.length > SEND_BUFFER && !setOption(fd, SOL_SOCKET, SO_SNDBUFFORCE, datagram.length))
          setOption(fd, SOL_SOCKET, SO_SNDBUF, datagram.length);
        raw.send(datagram, undefined, error =>
          setImmediate(() => {
            if (!error) resolve();
            else if (error.errno === EMSGSIZE) reject(new TransactionTooLargeError(datagram.length));
            else reject(refused(error.errno));
          }),
        );
      }),
    onDatagram(listener) {
      raw.on('message', (datagram, { port }) => {
        // only the kernel has port 0; any process may send to ours
        if (port === 0) setImmediate(listener, datagram);
      });
    },
    lost: () => readDrops(fd),
    close: () => raw.close(),
  };
}

function refused(errno: number): NetlinkError {
  return new NetlinkError({ subject: 'netlink socket', errno });
}

/** The package's own errors have an errno. */
function refusing<T>(call: () => T): T {
  try {
    return call();
  } catch (error) {
    throw error instanceof Error && 'errno' in error ? refused(Number(error.errno)) : error;
  }
}

function findDescriptor(protocol: number, port: number): number {
  const inode = readFileSync('/proc/self/net/netlink', 'utf8')
    .split('\n')
    .map(line => line.trim().split(/\s+/))
    .find(([, family, owner]) => Number(family) === protocol && Number(owner) === port >>> 0)
    ?.at(-1);
  let failure: unknown;
  const fd = readdirSync('/proc/self/fd').find(name => {
    try {
      return readlinkSync(`/proc/self/fd/${name}`) === `socket:[${inode}]`;
    } catch (error) {
      if (!isGone(error)) failure = error;
      return false;
    }
  });
  if (fd === undefined)
    throw failure ?? new Error('the netlink socket is not in /proc/self/fd: is /proc mounted?');
  return Number(fd);
}

/** As the descriptor of a folder that was read. */
const isGone = (error: unknown) => error instanceof Error && 'code' in error && error.code === 'ENOENT';
