// netlink/ speaks to the kernel: attributes, requests and answers, the sockets of npm netlink, errors, and the families
// beside nf_tables: NFLOG, connection tracking, links, routes, sockets. It knows no table of ours.
// Floor 1: it imports only from rooms on lower floors.

/**
 * Netlink attributes: `nlattr {u16 length, u16 type}` in host order, then the value, padded to 4 bytes
 * (include/uapi/linux/netlink.h). nfnetlink's integers are big-endian, and strings end in NUL.
 *
 * Host order is little-endian here: npm `netlink` and koffi ship binaries for little-endian machines only.
 */

/** The type's low 14 bits; the others are NLA_F_NESTED and NLA_F_NET_BYTEORDER. Kernel dumps do not set them. */
const NLA_TYPE_MASK = 0x3fff;
const NLA_F_NESTED = 0x8000;
const HEADER = 4;

/** The longest value an attribute's 16-bit length can hold. */
export const MAX_ATTRIBUTE = 0xffff - HEADER;

/** Bytes that the kernel does not send: cut short, too long, or without something that the object needs. */
export class DecodeError extends Error {
  override readonly name = 'DecodeError';
}

// Methods here are `private`, not `#private`: the bundle has a syntax that old Node.js can parse. There, a class with `#methods`
// pays for each access to its fields, which made loads of 1,000 services a fifth slower.

/** A growing buffer of attributes. It checks nothing: the caller must know what fits and what it means. */
export class AttributeWriter {
  #buffer: Buffer;
  #length = 0;

  constructor(size = 256) {
    this.#buffer = Buffer.allocUnsafe(size);
  }

  /** How many bytes are written so far. */
  get length(): number {
    return this.#length;
  }

  /** The bytes written so far, not copied: valid until the next write. */
  finish(): Buffer {
    return this.#buffer.subarray(0, this.#length);
  }

  /** Makes room for `size` more bytes and returns where they start. */
  private grow(size: number): number {
    const start = this.#length;
    const length = start + size;
    if (length > this.#buffer.length) {
      const larger = Buffer.allocUnsafe(Math.max(length, this.#buffer.length * 2));
      this.#buffer.copy(larger, 0, 0, start);
      this.#buffer = larger;
    }
    this.#length = length;
    return start;
  }

  private attribute(type: number, size: number): number {
    const padded = (size + 3) & ~3;
    const start = this.grow(HEADER + padded);
    putU16(this.#buffer, start, HEADER + size);
    putU16(this.#buffer, start + 2, type);
    // for three bytes at most, Buffer's fill takes much longer
    for (let at = size; at < padded; at++) this.#buffer[start + HEADER + at] = 0;
    return start + HEADER;
  }

  u8(type: number, value: number): void {
    const at = this.attribute(type, 1);
    this.#buffer[at] = value;
  }

  be16(type: number, value: number): void {
    const at = this.attribute(type, 2);
    this.#buffer.writeUInt16BE(value, at);
  }

  be32(type: number, value: number): void {
    const at = this.attribute(type, 4);
    const buffer = this.#buffer;
    buffer[at] = value >>> 24;
    buffer[at + 1] = value >>> 16;
    buffer[at + 2] = value >>> 8;
    buffer[at + 3] = value;
  }

  be64(type: number, value: bigint): void {
    const at = this.attribute(type, 8);
    this.#buffer.writeBigUInt64BE(value, at);
  }

  string(type: number, value: string): void {
    const size = Buffer.byteLength(value) + 1;
    const at = this.attribute(type, size);
    this.#buffer.write(value, at);
    this.#buffer[at + size - 1] = 0;
  }

  bytes(type: number, value: Uint8Array): void {
    const at = this.attribute(type, value.length);
    this.#buffer.set(value, at);
  }

  /** Bytes outside any attribute, such as the headers of a message; a multiple of 4. */
  raw(value: Uint8Array): void {
    const at = this.grow(value.length);
    this.#buffer.set(value, at);
  }

  /** Opens a nest. Everything written before {@link close} of the returned position is inside. */
  open(type: number): number {
    return this.attribute(type | NLA_F_NESTED, 0) - HEADER;
  }

  close(start: number): void {
    putU16(this.#buffer, start, this.#length - start);
  }

  nested(type: number, write: (writer: this) => void): void {
    const start = this.open(type);
    write(this);
    this.close(start);
  }

  /** Writes into the 4 bytes at `start` the number of bytes from there on, as a message's header needs it. */
  patchLength(start: number): void {
    this.#buffer.writeUInt32LE(this.#length - start, start);
  }
}

// Both are in host order, for two bytes that are known to exist. Buffer's own checks take three times as long without a compiler.

function putU16(buffer: Buffer, at: number, value: number): void {
  buffer[at] = value;
  buffer[at + 1] = value >>> 8;
}

function u16(buffer: Buffer, at: number): number {
  return (buffer[at] ?? 0) | ((buffer[at + 1] ?? 0) << 8);
}

/**
 * A cursor over the attributes in `buffer` from `start` to `end`: `while (reader.next()) switch (reader.type) …`.
 * Throws {@link DecodeError} if lengths do not fit.
 */
export class AttributeReader {
  readonly buffer: Buffer;
  readonly #end: number;
  #next: number;
  #value = 0;
  #valueEnd = 0;
  /** Type of the attribute that the cursor is on, without flags. */
  type = 0;

  constructor(buffer: Buffer, start = 0, end = buffer.length) {
    this.buffer = buffer;
    this.#next = start;
    this.#end = end;
  }

  /** The position in {@link buffer} at which the value of this attribute starts. */
  get offset(): number {
    return this.#value;
  }

  get size(): number {
    return this.#valueEnd - this.#value;
  }

  next(): boolean {
    const start = this.#next;
    if (start >= this.#end) return false;
    if (start + HEADER > this.#end) throw new DecodeError(`attribute header cut short at byte ${start}`);
    const length = u16(this.buffer, start);
    if (length < HEADER || start + length > this.#end)
      throw new DecodeError(`attribute of ${length} bytes does not fit at byte ${start}`);
    this.type = u16(this.buffer, start + 2) & NLA_TYPE_MASK;
    this.#value = start + HEADER;
    this.#valueEnd = start + length;
    this.#next = start + ((length + 3) & ~3);
    return true;
  }

  private expect(size: number): number {
    if (this.size !== size)
      throw new DecodeError(`attribute ${this.type} has ${this.size} bytes instead of ${size}`);
    return this.#value;
  }

  u8(): number {
    return this.buffer.readUInt8(this.expect(1));
  }

  be16(): number {
    return this.buffer.readUInt16BE(this.expect(2));
  }

  be32(): number {
    return this.buffer.readUInt32BE(this.expect(4));
  }

  /** In host order, as rtnetlink has its numbers. */
  u32(): number {
    return this.buffer.readUInt32LE(this.expect(4));
  }

  be64(): bigint {
    return this.buffer.readBigUInt64BE(this.expect(8));
  }

  /** The text up to the NUL, or the whole value if there is none. */
  string(): string {
    const nul = this.buffer.indexOf(0, this.#value);
    return this.buffer.toString('utf8', this.#value, nul >= 0 && nul < this.#valueEnd ? nul : this.#valueEnd);
  }

  /** The value as a view, not a copy. */
  bytes(): Buffer {
    return this.buffer.subarray(this.#value, this.#valueEnd);
  }

  nested(): AttributeReader {
    return new AttributeReader(this.buffer, this.#value, this.#valueEnd);
  }
}

/** The attributes after the fixed header of a message, which has `size` bytes. Throws {@link DecodeError} if the header is cut short. */
export function attributesBehind(payload: Buffer, size: number): AttributeReader {
  if (payload.length < size)
    throw new DecodeError(`a message has ${payload.length} bytes instead of at least ${size}`);
  return new AttributeReader(payload, size);
}

/** The value, or a {@link DecodeError} that names what is missing. */
export function required<T>(value: T | undefined, what: string): T {
  if (value === undefined) throw new DecodeError(`${what} is missing`);
  return value;
}
