import { AF } from '../inet/family.ts';
import { type AttributeReader, AttributeWriter, attributesBehind } from './attributes.ts';
import type { Request } from './connection.ts';
import type { Part } from './errors.ts';

/** A message of a netfilter subsystem: a value until it is sent. */
export interface Message {
  /** Subsystem << 8 | message. */
  readonly type: number;
  /** NLM_F_* besides NLM_F_REQUEST. */
  readonly flags: number;
  /** The subject of the message, in words for an error: `chain guard_ssh`. */
  readonly subject: string;
  readonly write: (writer: AttributeWriter) => void;
  /** The part of the message, given a reader of its attributes, that contains the byte at `offset` of the reader's buffer. */
  readonly partAt?: (reader: AttributeReader, offset: number) => Part | undefined;
}

// include/uapi/linux/netfilter/nfnetlink.h
export const NFNL_SUBSYS_NFTABLES = 10;
/** include/uapi/linux/netfilter.h */
export const NFPROTO = {
  UNSPEC: 0,
  INET: 1,
  IPV4: AF.ipv4,
  ARP: 3,
  NETDEV: 5,
  BRIDGE: 7,
  IPV6: AF.ipv6,
} as const;
/** Bytes of `struct nfgenmsg`. */
export const NFGENMSG = 4;

/** `struct nfgenmsg {u8 family, u8 version, be16 res_id}` */
export function nfgenmsg(family: number, resource = 0): Buffer {
  return Buffer.from([family, 0, resource >> 8, resource & 0xff]);
}

/** The attributes of a message that the kernel sent. */
export function attributesOf(payload: Buffer): AttributeReader {
  return attributesBehind(payload, NFGENMSG);
}

/** The family of a message that the kernel sent. */
export function familyOf(payload: Buffer): number {
  return payload[0] ?? NFPROTO.UNSPEC;
}

/**
 * A message as a request of its own, for reads, and for subsystems without transactions. It is for one family, or for all
 * with NFPROTO.UNSPEC.
 */
export function requestOf({ type, flags, subject, write }: Message, family: number = NFPROTO.INET): Request {
  const writer = new AttributeWriter();
  writer.raw(nfgenmsg(family));
  write(writer);
  return { type, flags, subject, payload: writer.finish() };
}
