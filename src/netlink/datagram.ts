/** Bytes of `struct nlmsghdr`, include/uapi/linux/netlink.h. */
export const NLMSG_HEADER = 16;

/** A message as it stands in a datagram. */
export interface Received {
  readonly type: number;
  /** NLM_F_*, of which many mean something else in an answer than in a request. */
  readonly flags: number;
  /** That of the request that it answers; 0 if it answers none. */
  readonly sequence: number;
  /** The bytes after the header: a view, not a copy. */
  readonly payload: Buffer;
}

/** The messages of a datagram, up to the first with an impossible length: the kernel sends no such message. */
export function* messagesOf(datagram: Buffer): Generator<Received, void> {
  for (let at = 0; at + NLMSG_HEADER <= datagram.length; ) {
    const length = datagram.readUInt32LE(at);
    if (length < NLMSG_HEADER || at + length > datagram.length) return;
    yield {
      type: datagram.readUInt16LE(at + 4),
      flags: datagram.readUInt16LE(at + 6),
      sequence: datagram.readUInt32LE(at + 8),
      payload: datagram.subarray(at + NLMSG_HEADER, at + length),
    };
    at += (length + 3) & ~3;
  }
}

/** The header of a message of `length` bytes, including this header. */
export function encodeHeader(length: number, type: number, flags: number, sequence: number): Buffer {
  const header = Buffer.alloc(NLMSG_HEADER);
  header.writeUInt32LE(length, 0);
  header.writeUInt16LE(type, 4);
  header.writeUInt16LE(flags, 6);
  header.writeUInt32LE(sequence, 8);
  return header;
}
