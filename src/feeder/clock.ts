import { readdirSync, readFileSync } from 'node:fs';
import { adjtimex, LONG } from '../libc/libc.ts';

/** struct timex (linux/timex.h) has at most 208 bytes; `status` stands behind `modes`, padded, and four longs. */
const TIMEX = 208;
const STATUS = 5 * LONG;
/** STA_UNSYNC: nothing keeps the clock in step with true time. */
const STA_UNSYNC = 0x40;

/**
 * Whether the clock can be believed. It can if something keeps it in step, or if the machine or its hypervisor has a clock that
 * goes on while the machine is off. Without either, a boot begins at some moment of the past, and old tokens would open.
 */
export function hasTrustedClock(): boolean {
  return isSynchronized() || hasClockOfItsOwn();
}

export function isSynchronized(): boolean {
  const buffer = Buffer.alloc(TIMEX); // `modes` 0: only reads
  return adjtimex(buffer) >= 0 && (buffer.readInt32LE(STATUS) & STA_UNSYNC) === 0;
}

export function hasClockOfItsOwn(): boolean {
  try {
    if (readdirSync('/sys/class/rtc').length > 0) return true;
  } catch {}
  return (
    CLOCKSOURCES.test(textOf('/sys/devices/system/clocksource/clocksource0/available_clocksource')) ||
    /^flags\s*:.*\bhypervisor\b/m.test(textOf('/proc/cpuinfo'))
  );
}

/** Clocks of hypervisors; services see these, but not always /proc/cpuinfo. */
const CLOCKSOURCES = /\b(kvm-clock|hyperv_clocksource\w*|xen)\b/;

function textOf(path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return '';
  }
}
