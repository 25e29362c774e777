import { AttributeReader, AttributeWriter } from './attributes.ts';
import {
  type Connection,
  encodeHeader,
  NLM_F,
  NLMSG_HEADER,
  type Refusal,
  type Request,
} from './connection.ts';
import { NetlinkError, type Part, StaleGenerationError } from './errors.ts';

/** A message of a netfilter subsystem: a value until it is sent. */
export interface Message {
  /** Subsystem << 8 | message. */
  readonly type: number;
  /** NLM_F_* besides NLM_F_REQUEST. */
  readonly flags: number;
  /** What the message is about, in words for an error: `chain guard_ssh`. */
  readonly subject: string;
  readonly write: (writer: AttributeWriter) => void;
  /** The part of the message, given a reader of its attributes, that contains the byte at `offset` of the reader's buffer. */
  readonly partAt?: (reader: AttributeReader, offset: number) => Part | undefined;
}

// include/uapi/linux/netfilter/nfnetlink.h
const NFNL_MSG_BATCH_BEGIN = 16;
const NFNL_MSG_BATCH_END = 17;
const NFNL_BATCH_GENID = 1;
export const NFNL_SUBSYS_NFTABLES = 10;
/** include/uapi/linux/netfilter.h */
export const NFPROTO = { UNSPEC: 0, INET: 1, IPV4: 2, NETDEV: 5, BRIDGE: 7, IPV6: 10 } as const;
const NFGENMSG = 4;
const ERESTART = 85;

/** nf_tables: the message that asks for the generation, and the attribute of its answer. */
const NFT_MSG_GETGEN = (NFNL_SUBSYS_NFTABLES << 8) | 16;
const NFTA_GEN_ID = 1;

/** `struct nfgenmsg {u8 family, u8 version, be16 res_id}` */
function nfgenmsg(family: number, resource = 0): Buffer {
  return Buffer.from([family, 0, resource >> 8, resource & 0xff]);
}

/** The attributes of a message that the kernel sent. */
export function attributesOf(payload: Buffer): AttributeReader {
  return new AttributeReader(payload, NFGENMSG);
}

/** The family of a message that the kernel sent. */
export function familyOf(payload: Buffer): number {
  return payload.readUInt8(0);
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

/** What {@link readGeneration} asks for, in words. */
export const GENERATION = 'generation of the ruleset';

const getGeneration: Request = {
  type: NFT_MSG_GETGEN,
  flags: 0,
  subject: GENERATION,
  payload: nfgenmsg(NFPROTO.UNSPEC),
};

/** The number of the ruleset's generation. Every commit, from any program, adds 1. */
export async function readGeneration(connection: Connection): Promise<number> {
  return decodeGeneration((await connection.request(getGeneration)).payload);
}

function decodeGeneration(payload: Buffer): number {
  const reader = attributesOf(payload);
  while (reader.next()) if (reader.type === NFTA_GEN_ID) return reader.be32();
  return 0;
}

/** A batch as bytes, and where each of its messages starts. */
interface Encoded {
  readonly datagram: Buffer;
  readonly starts: readonly number[];
}

/** In place of a generation: the ruleset may have changed in any way. */
export const ANY_GENERATION = 0;

/**
 * One transaction as one datagram: a begin with the generation that it is made for, the messages, and an end. Only the last
 * message asks for an ACK, since hundreds of ACKs would overrun a receive buffer.
 *
 * Without the end, the kernel checks everything and keeps nothing: a dry run.
 */
export function encodeBatch(
  messages: readonly Message[],
  options: { readonly firstSequence: number; readonly generation: number; readonly dryRun?: boolean },
): Encoded {
  const writer = new AttributeWriter(64 * 1024);
  let sequence = options.firstSequence;
  const add = (
    type: number,
    flags: number,
    header: Buffer,
    write: (writer: AttributeWriter) => void,
  ): number => {
    const start = writer.length;
    writer.raw(encodeHeader(0, type, flags | NLM_F.REQUEST, sequence++));
    writer.raw(header);
    write(writer);
    writer.patchLength(start);
    return start;
  };
  const edge = nfgenmsg(NFPROTO.UNSPEC, NFNL_SUBSYS_NFTABLES);
  const begin = add(NFNL_MSG_BATCH_BEGIN, 0, edge, nest => nest.be32(NFNL_BATCH_GENID, options.generation));
  const inet = nfgenmsg(NFPROTO.INET);
  const starts = messages.map(({ type, flags, write }, index) =>
    add(type, index === messages.length - 1 ? flags | NLM_F.ACK : flags, inet, write),
  );
  const end = writer.length;
  if (!options.dryRun) add(NFNL_MSG_BATCH_END, 0, edge, () => {});
  return { datagram: writer.finish(), starts: [begin, ...starts, end] };
}

/**
 * Commits all messages or none, and returns the generation of the ruleset that this made. Throws {@link NetlinkError} for the
 * first message that the kernel refused, and {@link StaleGenerationError} if the ruleset is no longer `generation`.
 */
export async function commit(
  connection: Connection,
  messages: readonly Message[],
  options: { readonly generation: number; readonly dryRun?: boolean },
): Promise<{ readonly bytes: number; readonly generation: number }> {
  const firstSequence = connection.sequences(messages.length + 2);
  const encoded = encodeBatch(messages, { ...options, firstSequence });
  const { refusals, acknowledged, fence } = await connection.batch(encoded.datagram, getGeneration);
  const [refusal] = refusals;
  if (refusal) throw refusalError(refusal, refusal.sequence - firstSequence, messages, encoded);
  if (acknowledged !== firstSequence + messages.length)
    throw new Error('the kernel did not answer the transaction: it is not what it expects');
  const now = decodeGeneration(fence.payload);
  return { bytes: encoded.datagram.length, generation: ownGeneration(options.generation, now) };
}

/**
 * The generation that a transaction made, from the one before it and the one a moment later. Another program may have committed
 * in between, and its changes must not pass for ours. This is right only for transactions that change something. One that does
 * not makes no generation, and then another program's could pass for it. If the one before is unknown, so is ours.
 */
function ownGeneration(before: number, later: number): number {
  const next = (before + 1) >>> 0 || 1; // the kernel skips 0
  return before === ANY_GENERATION || later === before ? later : next;
}

function refusalError(
  refusal: Refusal,
  index: number,
  messages: readonly Message[],
  encoded: Encoded,
): Error {
  if (index === 0 && refusal.errno === ERESTART) return new StaleGenerationError();
  const message = messages[index - 1];
  const start = encoded.starts[index];
  const part =
    start === undefined || refusal.offset === undefined
      ? undefined
      : message?.partAt?.(
          new AttributeReader(encoded.datagram, start + NLMSG_HEADER + NFGENMSG, encoded.starts[index + 1]),
          start + refusal.offset,
        );
  return new NetlinkError({
    subject: message?.subject ?? 'transaction',
    errno: refusal.errno,
    ...(refusal.reason && { reason: refusal.reason }),
    ...(part && { part }),
  });
}
