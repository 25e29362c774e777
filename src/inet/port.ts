import { bad, good, type Outcome } from './outcome.ts';
import type { Protocol } from './protocol.ts';

/** One port of this host. `port` is 1 to 65535. A knock is one packet to it. */
export interface Port {
  readonly protocol: Protocol;
  readonly port: number;
}

/** Neighbouring ports of one protocol, `first` to `last`, both included. For a single port, `first === last`. */
export interface PortRange {
  readonly protocol: Protocol;
  readonly first: number;
  readonly last: number;
}

const WRITTEN = /^([1-9]\d{0,4})(?:-([1-9]\d{0,4}))?\/(tcp|udp)$/;
export const HIGHEST_PORT = 65535;

export const ONE_PORT = 'a number from 1 to 65535 (TCP), "N/tcp" or "N/udp"';
export const PORT_RANGE = `${ONE_PORT}, or a range such as "6000-6010/tcp"`;

/** Reads `22`, `"22/tcp"`, `"53/udp"`. */
export function readPort(written: number | string): Outcome<Port> {
  const outcome = readPortRange(written);
  if (!outcome.ok) return bad(outcome.wrong, ONE_PORT);
  if (typeof written === 'string' && written.includes('-')) return bad('is a range', ONE_PORT);
  return good({ protocol: outcome.value.protocol, port: outcome.value.first });
}

/** Like {@link readPort}, and also reads `"6000-6010/tcp"`. */
export function readPortRange(written: number | string): Outcome<PortRange> {
  if (typeof written === 'number') return fromNumber(written);
  const parts = WRITTEN.exec(written);
  if (parts === null)
    return bad(/^\d+(-\d+)?$/.test(written) ? 'names no protocol' : 'is no port', PORT_RANGE);
  const first = Number(parts[1]);
  const last = Number(parts[2] ?? parts[1]);
  if (first > HIGHEST_PORT || last > HIGHEST_PORT) return bad('is no port', PORT_RANGE);
  if (first > last) return bad('is a range whose end comes before its beginning', PORT_RANGE);
  return good({ protocol: parts[3] === 'udp' ? 'udp' : 'tcp', first, last });
}

/** `22/tcp` */
export function formatPort({ protocol, port }: Port): string {
  return `${port}/${protocol}`;
}

export function formatPortRange({ protocol, first, last }: PortRange): string {
  return first === last ? `${first}/${protocol}` : `${first}-${last}/${protocol}`;
}

/** The port as the file has it: a number for TCP, else `53/udp`. */
export function writtenPort(port: Port): number | string {
  return port.protocol === 'tcp' ? port.port : formatPort(port);
}

/** The same for a range. */
export function writtenPortRange(range: PortRange): number | string {
  const { protocol, first, last } = range;
  return first === last ? writtenPort({ protocol, port: first }) : formatPortRange(range);
}

/** Whether the range has the port. */
export function includes({ protocol, first, last }: PortRange, port: Port): boolean {
  return protocol === port.protocol && first <= port.port && port.port <= last;
}

export function overlap(a: PortRange, b: PortRange): boolean {
  return a.protocol === b.protocol && a.first <= b.last && b.first <= a.last;
}

/** The same ports in as few ranges as possible, TCP first, in order. */
export function mergePortRanges(ranges: readonly PortRange[]): readonly PortRange[] {
  const merged: PortRange[] = [];
  for (const range of ranges.toSorted(comparePortRanges)) {
    const before = merged.at(-1);
    if (before?.protocol === range.protocol && range.first <= before.last + 1) {
      merged[merged.length - 1] = { ...before, last: Math.max(before.last, range.last) };
    } else {
      merged.push(range);
    }
  }
  return merged;
}

function fromNumber(port: number): Outcome<PortRange> {
  if (!Number.isInteger(port) || port < 1 || port > HIGHEST_PORT) return bad('is no port', PORT_RANGE);
  return good({ protocol: 'tcp', first: port, last: port });
}

function comparePortRanges(a: PortRange, b: PortRange): number {
  return compareProtocols(a.protocol, b.protocol) || a.first - b.first || a.last - b.last;
}

function compareProtocols(a: Protocol, b: Protocol): number {
  return Number(a === 'udp') - Number(b === 'udp');
}

/** A port as it stands in a packet. */
export function portBytes(port: number): Buffer {
  return Buffer.from([port >>> 8, port & 0xff]);
}
