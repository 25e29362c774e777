import type { Register } from '../nftables/register.ts';
import { type Bits, vague } from './bits.ts';

const WORD = 4;
const SIZE = 16 * WORD;

/** The registers while we follow a rule: what was loaded into them, byte by byte. */
export class Registers {
  readonly #likely = Buffer.alloc(SIZE);
  readonly #sure = Buffer.alloc(SIZE);
  readonly #vague = new Array<boolean>(SIZE).fill(true);

  /** Loads a value. The rest of its last word is 0, as in the kernel. */
  load(register: Register, bits: Bits): void {
    const start = register * WORD;
    const size = bits.likely.length;
    const end = Math.min(SIZE, start + ((size + WORD - 1) & ~(WORD - 1)));
    this.#likely.fill(0, start, end);
    this.#sure.fill(0xff, start, end);
    bits.likely.copy(this.#likely, start);
    bits.sure.copy(this.#sure, start);
    this.#vague.fill(false, start, end);
    if (bits.vague) this.#vague.fill(true, start, Math.min(SIZE, start + size));
  }

  read(register: Register, size: number): Bits {
    const start = register * WORD;
    const end = start + size;
    if (end > SIZE) return vague(size);
    return {
      likely: Buffer.from(this.#likely.subarray(start, end)),
      sure: Buffer.from(this.#sure.subarray(start, end)),
      ...(this.#vague.slice(start, end).includes(true) && { vague: true }),
    };
  }

  /** Forgets everything, after an expression that may have written to any register. */
  forget(): void {
    this.#sure.fill(0);
    this.#vague.fill(true);
  }
}
