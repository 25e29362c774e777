/**
 * Bytes of netlink messages as lines that can be read and compared, so that a failure shows the line that differs. Each attribute
 * has a line, which begins with the headers of the nests that begin with it:
 *
 *     0000  2c000180 08000100 636d7000
 *     000c           20000280 08000100 00000001
 *     0018                    08000200 00000000
 *     0020                    0c000380 08000100 c0000207
 *
 * First comes the offset in hexadecimal, then the bytes in groups of four, with the padding. A value longer than 16 bytes goes on in
 * the next line.
 */

const NLA_F_NESTED = 0x8000;
const HEADER = 4;
/** How many bytes of a value stand in one line. */
const ROW = 16;

interface Line {
  readonly at: number;
  readonly text: string;
}

/** The lines of attributes, which come after `header` bytes of something else. */
export function dump(bytes: Uint8Array, header = 0): readonly string[] {
  const buffer = Buffer.from(bytes);
  const lines = [...rows(buffer.subarray(0, header), 0), ...attributes(buffer.subarray(header), header)];
  return lines.map(({ at, text }) => `${at.toString(16).padStart(4, '0')}  ${text}`);
}

/** The lines of a dump that stands in a test as one text, whatever its margin. */
export function linesOf(text: string): readonly string[] {
  return text
    .trim()
    .split('\n')
    .map(line => line.trim());
}

/** The bytes of a dump that stands in a test. */
export function bytesOf(text: string): Buffer {
  const digits = linesOf(text).map(line => line.replace(/^[0-9a-f]+ /, '').replaceAll(' ', ''));
  return Buffer.from(digits.join(''), 'hex');
}

/** `start` is the offset of the first byte. Bytes that are no attribute are shown as they are. */
function attributes(bytes: Buffer, start: number): Line[] {
  const lines: Line[] = [];
  for (let at = 0; at < bytes.length; ) {
    const length = at + HEADER <= bytes.length ? bytes.readUInt16LE(at) : 0;
    if (length < HEADER || at + length > bytes.length)
      return [...lines, ...rows(bytes.subarray(at), start + at)];
    const next = at + ((length + 3) & ~3);
    const value = bytes.subarray(at + HEADER, next);
    const inside = bytes.readUInt16LE(at + 2) & NLA_F_NESTED ? attributes : rows;
    const [first, ...others] = inside(value, start + at + HEADER);
    const header = groups(bytes.subarray(at, at + HEADER));
    lines.push({ at: start + at, text: first ? `${header} ${first.text}` : header });
    for (const { at, text } of others) lines.push({ at, text: ' '.repeat(header.length + 1) + text });
    at = next;
  }
  return lines;
}

function rows(bytes: Buffer, start: number): Line[] {
  return Array.from({ length: Math.ceil(bytes.length / ROW) }, (_, row) => ({
    at: start + row * ROW,
    text: groups(bytes.subarray(row * ROW, (row + 1) * ROW)),
  }));
}

function groups(bytes: Buffer): string {
  return bytes.toString('hex').replace(/.{8}(?=.)/g, '$& ');
}
