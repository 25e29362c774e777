import { AF } from '../inet/family.ts';
import { AttributeReader, AttributeWriter, DecodeError } from './attributes.ts';
import type { Request } from './connection.ts';
import { messagesOf } from './datagram.ts';
import { NFGENMSG, NFPROTO, nfgenmsg } from './nfnetlink.ts';

/** A packet that a `log group` rule sent us. */
export interface LoggedPacket {
  readonly family: 'ipv4' | 'ipv6';
  readonly prefix: string;
  /** The packet's mark; 0 if it has none. */
  readonly mark: number;
  /** Counts the packets of the group. A gap means lost packets. */
  readonly sequence: number | undefined;
  /** When the packet came, in milliseconds of the epoch; undefined if the kernel does not say (before Linux 5.18 it may not). */
  readonly time: number | undefined;
  /** 4 or 16 bytes. */
  readonly source: Buffer;
  /** The packet's beginning, from its IP header on: at most {@link COPY_RANGE} bytes. */
  readonly packet: Buffer;
}

// include/uapi/linux/netfilter/nfnetlink.h and nfnetlink_log.h
const NFNL_SUBSYS_ULOG = 4;
const NFULNL_MSG_PACKET = (NFNL_SUBSYS_ULOG << 8) | 0;
const NFULNL_MSG_CONFIG = (NFNL_SUBSYS_ULOG << 8) | 1;
const NFULA_CFG = { CMD: 1, MODE: 2, TIMEOUT: 4, QTHRESH: 5, FLAGS: 6 } as const;
const NFULNL_CFG_CMD_BIND = 1;
const NFULNL_COPY_PACKET = 2;
const NFULNL_CFG_F_SEQ = 1;
const NFULA = { MARK: 2, TIMESTAMP: 3, PAYLOAD: 9, PREFIX: 10, SEQ: 12 } as const;

/** Enough of a packet for its source and the token in it, unless its headers are very long. */
const COPY_RANGE = 256;
/** The kernel may collect packets for TIMEOUT hundredths of a second, or until it has THRESHOLD of them. */
const TIMEOUT = 10;
const THRESHOLD = 20;

/** Binds this socket to an NFLOG group. EPERM if another program has it. */
export function bindGroup(group: number): Request {
  const writer = new AttributeWriter();
  writer.raw(nfgenmsg(NFPROTO.UNSPEC, group));
  writer.u8(NFULA_CFG.CMD, NFULNL_CFG_CMD_BIND);
  const mode = Buffer.alloc(6); // struct nfulnl_msg_config_mode {be32 copy_range; u8 copy_mode; u8 pad} packed
  mode.writeUInt32BE(COPY_RANGE, 0);
  mode.writeUInt8(NFULNL_COPY_PACKET, 4);
  writer.bytes(NFULA_CFG.MODE, mode);
  writer.be32(NFULA_CFG.TIMEOUT, TIMEOUT);
  writer.be32(NFULA_CFG.QTHRESH, THRESHOLD);
  writer.be16(NFULA_CFG.FLAGS, NFULNL_CFG_F_SEQ);
  return {
    type: NFULNL_MSG_CONFIG,
    flags: 0,
    subject: `NFLOG group ${group}`,
    payload: writer.finish(),
  };
}

/** A request to the socket's group that changes nothing. Its answer comes after all packets that were reported before. */
export function fenceGroup(group: number): Request {
  const writer = new AttributeWriter();
  writer.raw(nfgenmsg(NFPROTO.UNSPEC, group));
  writer.be32(NFULA_CFG.TIMEOUT, TIMEOUT);
  return {
    type: NFULNL_MSG_CONFIG,
    flags: 0,
    subject: `NFLOG group ${group}`,
    payload: writer.finish(),
  };
}

/** The packets in a datagram. It skips other messages (ACKs, the end of a group of packets), and what it cannot read. */
export function decodePackets(datagram: Buffer): LoggedPacket[] {
  const packets: LoggedPacket[] = [];
  for (const { type, payload } of messagesOf(datagram)) {
    if (payload.length < NFGENMSG) break; // the kernel sends no such message
    if (type !== NFULNL_MSG_PACKET) continue;
    try {
      const packet = decodePacket(payload);
      if (packet) packets.push(packet);
    } catch (error) {
      if (!(error instanceof DecodeError)) throw error;
    }
  }
  return packets;
}

function decodePacket(message: Buffer): LoggedPacket | undefined {
  const family = message.readUInt8(0);
  const reader = new AttributeReader(message, NFGENMSG);
  let prefix = '';
  let mark = 0;
  let sequence: number | undefined;
  let time: number | undefined;
  let packet = Buffer.alloc(0);
  while (reader.next()) {
    if (reader.type === NFULA.PREFIX) prefix = reader.string();
    else if (reader.type === NFULA.MARK) mark = reader.be32();
    else if (reader.type === NFULA.SEQ) sequence = reader.be32();
    else if (reader.type === NFULA.TIMESTAMP) time = readTime(reader.bytes());
    else if (reader.type === NFULA.PAYLOAD) packet = Buffer.from(reader.bytes());
  }
  if (family === AF.ipv4 && packet.length >= 20)
    return { family: 'ipv4', prefix, mark, sequence, time, source: packet.subarray(12, 16), packet };
  if (family === AF.ipv6 && packet.length >= 40)
    return { family: 'ipv6', prefix, mark, sequence, time, source: packet.subarray(8, 24), packet };
  return undefined;
}

/** `struct nfulnl_msg_packet_timestamp {be64 sec; be64 usec}` */
function readTime(bytes: Buffer): number | undefined {
  if (bytes.length < 16) return undefined;
  return Number(bytes.readBigUInt64BE(0)) * 1000 + Math.floor(Number(bytes.readBigUInt64BE(8)) / 1000);
}
