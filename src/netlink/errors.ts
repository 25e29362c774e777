import { getSystemErrorMap } from 'node:util';

/** Errnos that the kernel returns here and Node has no name for (include/linux/errno.h, asm-generic/errno.h). */
const MORE_ERRNOS = new Map<number, readonly [string, string]>([
  [85, ['ERESTART', 'interrupted by another change']],
  [524, ['ENOTSUPP', 'operation not supported']],
]);

/** The name and the meaning of a (positive) errno: `['ENOENT', 'no such file or directory']`. */
function errnoName(errno: number): readonly [name: string, meaning: string] {
  return getSystemErrorMap().get(-errno) ?? MORE_ERRNOS.get(errno) ?? [`errno ${errno}`, 'unknown error'];
}

/** A part of a message, such as `expression 4`, and the name of its kind (`socket`). */
export interface Part {
  readonly name: string;
  readonly kind: string;
}

interface NetlinkFailure {
  /** The object of the request, in words: `chain guard_ssh: rule 2`. */
  readonly subject: string;
  /** Positive. */
  readonly errno: number;
  /** The kernel's own sentence (extended ACK), if it gave one. */
  readonly reason?: string;
  /** The part of the message that the kernel refused, if it said so. */
  readonly part?: Part;
}

/** The kernel refused a request. */
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

/** Another program changed the ruleset since it was read: read it again and retry. Nothing was changed. */
export class StaleGenerationError extends Error {
  override readonly name = 'StaleGenerationError';
}

/** The transaction is larger than the socket's send buffer, which could not be raised. Nothing was changed. */
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

/** The kernel has not answered a request in time. */
export class SilentError extends Error {
  override readonly name = 'SilentError';
}

/** The kernel took a transaction, but its answer did not come. The transaction may be done or not. */
export class UnansweredError extends Error {
  override readonly name = 'UnansweredError';
}
