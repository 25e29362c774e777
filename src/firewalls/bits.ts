// firewalls/ reads the tables of other programs, and says what they would do with an imagined packet.
// It only reads. If it cannot tell, it says so.
// Floor 6: it imports only from rooms on lower floors.

/** A prediction of bytes that a rule looks at, in a packet or in a register. */
export interface Bits {
  /** The most likely bytes. */
  readonly likely: Buffer;
  /** The bits of {@link likely} that are the same in every such packet. */
  readonly sure: Buffer;
  /** No value is likelier than another. */
  readonly vague?: boolean;
}

/** Whether a packet matches. `likely` is undefined if we cannot tell. */
export interface Match {
  readonly likely: boolean | undefined;
  readonly sure: boolean;
}

export const YES: Match = { likely: true, sure: true };
export const NO: Match = { likely: false, sure: true };
export const LIKELY: Match = { likely: true, sure: false };
export const UNLIKELY: Match = { likely: false, sure: false };
export const UNKNOWN: Match = { likely: undefined, sure: false };

export function not({ likely, sure }: Match): Match {
  return { likely: likely === undefined ? undefined : !likely, sure };
}

/** Whether both match. If one surely does not match, the other does not count. */
export function both(a: Match, b: Match): Match {
  if ((a.sure && a.likely === false) || (b.sure && b.likely === false)) return NO;
  const sure = a.sure && b.sure;
  if (a.likely === false || b.likely === false) return { likely: false, sure };
  if (a.likely === undefined || b.likely === undefined) return UNKNOWN;
  return { likely: true, sure };
}

export function certain(bytes: Uint8Array): Bits {
  return { likely: Buffer.from(bytes), sure: Buffer.alloc(bytes.length, 0xff) };
}

/** A guess, which any packet may prove wrong. */
export function guess(bytes: Uint8Array): Bits {
  return { likely: Buffer.from(bytes), sure: Buffer.alloc(bytes.length) };
}

/** The bytes of all registers together. No expression loads more, whatever it says. */
const MOST = 64;

export function vague(size: number): Bits {
  const bytes = Math.min(size, MOST);
  return { likely: Buffer.alloc(bytes), sure: Buffer.alloc(bytes), vague: true };
}

/** Whether all bits are certain. */
export function isSure({ sure }: Bits): boolean {
  return sure.every(byte => byte === 0xff);
}

/** Whether a packet may have this value there. */
export function mayBe({ likely, sure }: Bits, value: Uint8Array): boolean {
  return value.every((byte, index) => (((likely[index] ?? 0) ^ byte) & (sure[index] ?? 0)) === 0);
}

/** `bits == value` */
export function equals(bits: Bits, value: Buffer): Match {
  if (!mayBe(bits, value)) return NO;
  if (isSure(bits)) return YES;
  if (bits.vague) return UNKNOWN;
  return { likely: bits.likely.equals(value), sure: false };
}

/** `bits < value` and the like. `holds` gets the sign of bits - value. */
export function compares(bits: Bits, value: Buffer, holds: (sign: number) => boolean): Match {
  if (bits.vague) return UNKNOWN;
  return { likely: holds(Buffer.compare(bits.likely, value)), sure: isSure(bits) };
}

/** `(bits & mask) ^ xor` */
export function masked({ likely, sure, ...rest }: Bits, mask: Buffer, xor: Buffer): Bits {
  const at = (bytes: Buffer, index: number) => bytes[index] ?? 0;
  return {
    ...rest,
    likely: Buffer.from(likely.map((byte, index) => (byte & at(mask, index)) ^ at(xor, index))),
    sure: Buffer.from(sure.map((byte, index) => byte | (~at(mask, index) & 0xff))),
  };
}
