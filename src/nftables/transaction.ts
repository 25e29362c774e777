import { AttributeReader, AttributeWriter } from '../netlink/attributes.ts';
import { type Connection, NLM_F, type Refusal, type Request } from '../netlink/connection.ts';
import { encodeHeader, NLMSG_HEADER } from '../netlink/datagram.ts';
import { NetlinkError, StaleGenerationError } from '../netlink/errors.ts';
import {
  attributesOf,
  type Message,
  NFGENMSG,
  NFNL_SUBSYS_NFTABLES,
  NFPROTO,
  nfgenmsg,
} from '../netlink/nfnetlink.ts';
import { NFT_MSG } from './message.ts';

// include/uapi/linux/netfilter/nfnetlink.h
const NFNL_MSG_BATCH_BEGIN = 16;
const NFNL_MSG_BATCH_END = 17;
const NFNL_BATCH_GENID = 1;
/** enum nft_gen_attributes */
const NFTA_GEN_ID = 1;
/** include/linux/errno.h: the ruleset is of another generation. */
const ERESTART = 85;

/** The subject of {@link readGeneration}, in words. */
export const GENERATION = 'generation of the ruleset';

const getGeneration: Request = {
  type: NFT_MSG.GETGEN,
  flags: 0,
  subject: GENERATION,
  payload: nfgenmsg(NFPROTO.UNSPEC),
};

/** The number of the ruleset's generation. Every commit, from any program, adds 1. */
export async function readGeneration(connection: Connection): Promise<number> {
  return decodeGeneration((await connection.request(getGeneration)).payload);
}

/** From the payload of an answer or of a notification. */
export function decodeGeneration(payload: Buffer): number {
  const reader = attributesOf(payload);
  while (reader.next()) if (reader.type === NFTA_GEN_ID) return reader.be32();
  return 0;
}

/** A batch as bytes, and where each of its messages starts. */
interface Encoded {
  readonly datagram: Buffer;
  readonly starts: readonly number[];
}

/** In place of a generation: commit even if the ruleset has changed. */
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
 * in between, and its changes must not pass for ours. This is right only for transactions that change something: one that changes
 * nothing makes no generation, and another program's could pass for it. If the one before is unknown, so is ours.
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
