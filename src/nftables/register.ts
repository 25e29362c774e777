import { DecodeError } from '../netlink/attributes.ts';

declare const REGISTER: unique symbol;

/** A data register, counted in 4-byte words from 0 to 15 as nft allocates them. An IPv6 address takes four. */
export type Register = number & { readonly [REGISTER]: true };

/** The register that holds the verdict on the packet. */
export const VERDICT = 'verdict';

// include/uapi/linux/netfilter/nf_tables.h, enum nft_registers
const NFT_REG_VERDICT = 0;
const NFT_REG_1 = 1;
const NFT_REG_4 = 4;
const NFT_REG32_00 = 8;
const NFT_REG32_15 = 23;

/** The register at word `index`, 0 to 15. */
export function register(index: number): Register {
  return index as Register;
}

/** The first register, in which a key starts. */
export const KEY = register(0);

/** The kernel's number. A word that begins a 16-byte register has the number of that (1 to 4), as in nft and kernel dumps. */
export function encodeRegister(reg: Register | typeof VERDICT): number {
  if (reg === VERDICT) return NFT_REG_VERDICT;
  return reg % 4 === 0 ? NFT_REG_1 + reg / 4 : NFT_REG32_00 + reg;
}

export function decodeRegister(value: number): Register {
  if (value >= NFT_REG_1 && value <= NFT_REG_4) return register((value - NFT_REG_1) * 4);
  if (value >= NFT_REG32_00 && value <= NFT_REG32_15) return register(value - NFT_REG32_00);
  throw new DecodeError(`register ${value} does not exist`);
}

export function decodeDestination(value: number): Register | typeof VERDICT {
  return value === NFT_REG_VERDICT ? VERDICT : decodeRegister(value);
}
