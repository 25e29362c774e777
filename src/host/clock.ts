import { readOr } from './proc.ts';

/**
 * Milliseconds since some moment of this boot, the same in all processes. Setting the clock does not change them. Like the
 * kernel's own time-outs, they stand still while the machine sleeps.
 */
export function monotonic(): number {
  return Number(process.hrtime.bigint() / 1_000_000n);
}

/** The file that names the boot, as a UUID (random(4)). */
const BOOT_ID = '/proc/sys/kernel/random/boot_id';

/**
 * This boot, as 32 hexadecimal digits; empty if that cannot be known. The services do not see the file, so their units pass it.
 */
export function bootId(): string {
  const { KNOCKD_NFT_BOOT: told } = process.env;
  return (told || readOr(BOOT_ID, '').trim()).replaceAll('-', '');
}

/**
 * Whether a note is of this boot: {@link monotonic} begins anew at each, and a folder may outlive one. In doubt it is: version 1.0.0
 * did not note the boot.
 */
export function isOfThisBoot(boot: unknown, own = bootId()): boolean {
  return typeof boot !== 'string' || boot === '' || own === '' || boot === own;
}
