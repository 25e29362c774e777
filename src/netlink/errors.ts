import { getSystemErrorMap } from 'node:util';

/** Errnos that the kernel returns here and Node has no name for (include/linux/errno.h, asm-generic/errno.h). */
const MORE_ERRNOS = new Map<number, readonly [string, string]>([
  [85, ['ERESTART', 'interrupted by another change']],
  [524, ['ENOTSUPP', 'operation not supported']],
]);

/** The name and the meaning of a (positive) errno: `['ENOENT', 'no such file or directory']`. */
export function errnoName(errno: number): readonly [name: string, meaning: string] {
  return getSystemErrorMap().get(-errno) ?? MORE_ERRNOS.get(errno) ?? [`errno ${errno}`, 'unknown error'];
}

/** A part of a message: `expression 4`, of a kind that has a name (`socket`). */
export interface Part {
  readonly name: string;
  readonly kind: string;
}

export interface NetlinkFailure {
  /** What was asked for, in words: `chain guard_ssh: rule 2`. */
  readonly subject: string;
  /** Positive. */
  readonly errno: number;
  /** The kernel's own sentence (extended ACK), where it gave one. */
  readonly reason?: string;
  /** Which part of the message it did not like, where it said so. */
  readonly part?: Part;
}

/** The kernel refused something. */
export class NetlinkError extends Error {
  override readonly name = 'NetlinkError';
  readonly failure: NetlinkFailure;
  /** Name of the errno: `ENOENT`. */
  readonly code: string;

  constructor(failure: NetlinkFailure) {
    const { subject, errno, reason, part } = failure;
    const [code, meaning] = errnoName(errno);
    super(
      [subject, part && `${part.name} (${part.kind})`, `${reason ?? meaning} (${code})`]
        .filter(Boolean)
        .join(': '),
    );
    this.failure = failure;
    this.code = code;
  }
}

/** Somebody else changed the ruleset since it was read: read it again and retry. Nothing was changed. */
export class StaleGenerationError extends Error {
  override readonly name = 'StaleGenerationError';
}

/** The transaction is larger than the socket's send buffer, and that could not be raised. Nothing was changed. */
export class TransactionTooLargeError extends Error {
  override readonly name = 'TransactionTooLargeError';
  /** Bytes. */
  readonly size: number;

  constructor(size: number) {
    super(
      `the transaction takes ${size} bytes, more than a socket may send here: raise net.core.wmem_max to ${size}, or run with CAP_NET_ADMIN of the host`,
    );
    this.size = size;
  }
}

/** The kernel took a transaction, and its answer did not come: it may be done or not. */
export class UnansweredError extends Error {
  override readonly name = 'UnansweredError';
}
