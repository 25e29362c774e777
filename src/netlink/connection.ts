import { setTimeout } from 'node:timers/promises';
import { AttributeReader, DecodeError } from './attributes.ts';
import { encodeHeader, messagesOf, NLMSG_HEADER, type Received } from './datagram.ts';
import { NetlinkError, SilentError, UnansweredError } from './errors.ts';
import type { Socket } from './socket.ts';

/** One netlink message as it came. The payload follows the 16 bytes of `nlmsghdr`. */
export interface Reply {
  readonly type: number;
  readonly payload: Buffer;
}

/** A message to send. `subject` says what it is about, for errors. */
export interface Request {
  readonly type: number;
  readonly flags: number;
  readonly subject: string;
  readonly payload: Buffer;
}

/** An error of one message, before it is known what the message was about. */
export interface Refusal {
  readonly sequence: number;
  /** Positive. */
  readonly errno: number;
  readonly reason: string | undefined;
  /** Byte offset of the attribute that the kernel did not like, from the start of our message. */
  readonly offset: number | undefined;
}

// include/uapi/linux/netlink.h
const NLMSG_ERROR = 2;
const NLMSG_DONE = 3;
/** Bytes of `struct nlmsgerr`: an errno, and the header of our message. */
const NLMSGERR = 4 + NLMSG_HEADER;
export const NLM_F = { REQUEST: 1, ACK: 4, EXCL: 0x200, DUMP: 0x300, CREATE: 0x400, APPEND: 0x800 } as const;
const NLM_F_DUMP_INTR = 0x10;
const NLM_F_CAPPED = 0x100;
const NLM_F_ACK_TLVS = 0x200;
const NLMSGERR_ATTR = { MSG: 1, OFFS: 2 } as const;

/** A change interrupted a dump, so its content is of no use. */
export class DumpInterruptedError extends Error {
  override readonly name = 'DumpInterruptedError';
}

/** The kernel works while we send. So if no part of an answer comes for this long, it is lost. In milliseconds. */
const ANSWER_TIMEOUT = 30_000;

/** How often to ask the kernel what became of a transaction. */
const FENCES = 10;

interface Pending {
  readonly onReply: (reply: Reply, flags: number) => void;
  readonly onDone: (flags: number) => void;
  readonly onAck?: () => void;
  readonly onError: (refusal: Refusal) => void;
  readonly onClose: () => void;
}

/** Requests and answers over a socket. Callers need not wait for each other. */
export class Connection {
  readonly #socket: Socket;
  readonly #fencePause: number;
  readonly #pending = new Map<number, Pending>();
  #sequence = 0;
  /** Errors of messages without a caller of their own. */
  #refusals: Refusal[] = [];
  #acknowledged = 0;
  #closed = false;
  /** Done when no batch is under way. */
  #idle: Promise<unknown> = Promise.resolve();

  /** `fencePause` is how long to wait before asking again what became of a transaction, in milliseconds. */
  constructor(socket: Socket, { fencePause = 50 }: { readonly fencePause?: number } = {}) {
    this.#socket = socket;
    this.#fencePause = fencePause;
    socket.onDatagram(datagram => this.#receive(datagram));
  }

  /** Calls that still wait for an answer get an error. */
  close(): void {
    this.#closed = true;
    this.#socket.close();
    for (const { onClose } of this.#pending.values()) onClose();
  }

  /** Reserves `count` sequence numbers and returns the first. */
  sequences(count: number): number {
    const first = this.#sequence + 1;
    this.#sequence += count;
    return first;
  }

  /** Sends a request and resolves with its first answer. */
  async request(request: Request): Promise<Reply> {
    return this.#exchange(request, NLM_F.REQUEST, (resolve, reject) => ({
      onReply: resolve,
      onDone: () => reject(new DecodeError(`${request.subject}: an answer without a message`)),
    }));
  }

  /** Sends a request that asks for an ACK, and resolves with it. */
  async acknowledge(request: Request): Promise<void> {
    return this.#exchange(request, NLM_F.REQUEST | NLM_F.ACK, resolve => ({
      onReply: () => {},
      onDone: () => {},
      onAck: () => resolve(),
    }));
  }

  /** Asks for all objects of a kind. Throws {@link DumpInterruptedError} if the kernel noticed a change meanwhile. */
  async dump(request: Request): Promise<Reply[]> {
    const replies: Reply[] = [];
    let interrupted = false;
    return this.#exchange(request, NLM_F.REQUEST | NLM_F.DUMP, (resolve, reject) => ({
      onReply: (reply, flags) => {
        interrupted ||= (flags & NLM_F_DUMP_INTR) !== 0;
        replies.push(reply);
      },
      // the end also reports a change that came after the last object
      onDone: flags =>
        interrupted || flags & NLM_F_DUMP_INTR
          ? reject(new DumpInterruptedError(request.subject))
          : resolve(replies),
    }));
  }

  /**
   * Sends a datagram of several messages, then `fence`, and resolves when the fence is answered. The kernel works while it takes
   * a datagram, and answers in order. So by then all errors of the first one are here. One batch is sent at a time.
   */
  batch(
    datagram: Buffer,
    fence: Request,
  ): Promise<{ refusals: Refusal[]; acknowledged: number; fence: Reply }> {
    const done = this.#idle.then(async () => {
      this.#refusals = [];
      this.#acknowledged = 0;
      await this.#socket.send(datagram);
      const answer = await this.#untilSent(fence);
      return { refusals: this.#refusals, acknowledged: this.#acknowledged, fence: answer };
    });
    this.#idle = done.catch(() => {});
    return done;
  }

  /** The kernel has done what was sent before, so we ask for its answers more than once. Throws {@link UnansweredError}. */
  async #untilSent(request: Request): Promise<Reply> {
    for (let left = FENCES; ; left--) {
      try {
        return await this.request(request);
      } catch (error) {
        const again = error instanceof NetlinkError && left > 1;
        if (!again) throw new UnansweredError(error instanceof Error ? error.message : String(error));
        await setTimeout(this.#fencePause);
      }
    }
  }

  async #exchange<T>(
    { type, flags, subject, payload }: Request,
    extraFlags: number,
    handlers: (
      resolve: (value: T) => void,
      reject: (error: Error) => void,
    ) => Omit<Pending, 'onError' | 'onClose'>,
  ): Promise<T> {
    if (this.#closed) throw closed(subject);
    const sequence = this.sequences(1);
    const header = encodeHeader(NLMSG_HEADER + payload.length, type, flags | extraFlags, sequence);
    return new Promise<T>((resolve, reject) => {
      const settle =
        <A>(act: (argument: A) => void) =>
        (argument: A) => {
          clearTimeout(timer);
          this.#pending.delete(sequence);
          act(argument);
        };
      const fail = settle(reject);
      const timer = globalThis.setTimeout(
        fail,
        ANSWER_TIMEOUT,
        new SilentError(`${subject}: the kernel does not answer`),
      );
      const { onReply, ...others } = handlers(settle(resolve), fail);
      this.#pending.set(sequence, {
        ...others,
        onReply: (reply, flags) => {
          timer.refresh(); // a long dump is an answer, too
          onReply(reply, flags);
        },
        onClose: () => fail(closed(subject)),
        onError: ({ errno, reason }) => fail(new NetlinkError({ subject, errno, ...(reason && { reason }) })),
      });
      this.#socket.send(Buffer.concat([header, payload])).catch(fail);
    });
  }

  #receive(datagram: Buffer): void {
    for (const message of messagesOf(datagram)) this.#dispatch(message);
  }

  #onAck(sequence: number, pending: Pending | undefined): void {
    this.#acknowledged = sequence;
    pending?.onAck?.();
  }

  #dispatch({ type, flags, sequence, payload }: Received): void {
    const pending = this.#pending.get(sequence);
    if (type === NLMSG_ERROR) {
      if (payload.length < NLMSGERR) return; // the kernel sends no such message
      const refusal = readError(payload, flags, sequence);
      if (refusal.errno === 0) this.#onAck(sequence, pending);
      else if (pending) pending.onError(refusal);
      else this.#refusals.push(refusal);
    } else if (type === NLMSG_DONE) {
      const errno = payload.length >= 4 ? -payload.readInt32LE(0) : 0;
      if (errno > 0) pending?.onError({ sequence, errno, reason: undefined, offset: undefined });
      else pending?.onDone(flags);
    } else pending?.onReply({ type, payload }, flags);
  }
}

function closed(subject: string): Error {
  return new Error(`${subject}: the connection is closed`);
}

/** EPROTO: we cannot understand what the kernel says about an error. */
const EPROTO = 71;

function readError(payload: Buffer, flags: number, sequence: number): Refusal {
  try {
    return decodeError(payload, flags, sequence);
  } catch (error) {
    if (!(error instanceof DecodeError)) throw error;
    return { sequence, errno: EPROTO, reason: error.message, offset: undefined };
  }
}

/** `struct nlmsgerr`: an errno, the header of our message, and attributes that say more (extended ACK). */
function decodeError(payload: Buffer, flags: number, sequence: number): Refusal {
  const errno = -payload.readInt32LE(0);
  let reason: string | undefined;
  let offset: number | undefined;
  if (flags & NLM_F_ACK_TLVS) {
    const echoed = flags & NLM_F_CAPPED ? NLMSG_HEADER : payload.readUInt32LE(4);
    const reader = new AttributeReader(payload, 4 + (((echoed + 3) & ~3) >>> 0));
    while (reader.next()) {
      if (reader.type === NLMSGERR_ATTR.MSG) reason = reader.string();
      else if (reader.type === NLMSGERR_ATTR.OFFS && reader.size === 4)
        offset = reader.bytes().readUInt32LE();
    }
  }
  return { sequence, errno, reason, offset };
}

/** How often a change may interrupt a dump. */
const ATTEMPTS = 100;

/** All objects of a kind at one moment. If a change interrupts the dump, it asks again. */
export async function wholeDump(connection: Connection, request: Request): Promise<Reply[]> {
  for (let left = ATTEMPTS; ; left--) {
    try {
      return await connection.dump(request);
    } catch (error) {
      if (!(error instanceof DumpInterruptedError) || left <= 1) throw error;
    }
  }
}
