import type { WellKnown } from '../host/well-known.ts';
import type { PortRange } from '../inet/port.ts';

/** The effect of a firewall's command, as far as a knock daemon needs it. */
export type Effect =
  | Opening
  /** Takes an opening back, or closes a port. */
  | { readonly does: 'close' }
  /** Waits, in milliseconds. */
  | { readonly does: 'wait'; readonly time: number }
  /** Changes nothing: writes a line, or asks whether a rule is there. */
  | { readonly does: 'nothing' }
  /** `why` completes a sentence that begins with the command: `cannot be read …`. */
  | { readonly does: 'unknown'; readonly why: string };

export interface Opening {
  readonly does: 'open';
  readonly ports: readonly PortRange[];
  /** Parts of the rule that are not carried over, as sentences without a period. */
  readonly notes: readonly string[];
  /** How long it opens, in milliseconds, if the command itself says so. */
  readonly time?: number;
}

export const CLOSE: Effect = { does: 'close' };
export const NOTHING: Effect = { does: 'nothing' };

export function unknown(why: string): Effect {
  return { does: 'unknown', why };
}

/** The place where knockd puts the client's address. */
const CLIENT = '%IP%';

/** Well-known ports by name: `ssh/tcp` is 22. */
export type PortNames = WellKnown['portOf'];

/** The parts of any firewall's rule. */
export interface Match {
  /** `tcp`, `udp`, `6`, …; undefined for any. */
  readonly protocol?: string | undefined;
  /** `22`, `ssh`, `6000:6010`, `6000-6010`, several with commas. */
  readonly ports?: string | undefined;
  /** The source address; undefined for any. */
  readonly from?: string | undefined;
  /** Other conditions, as written. */
  readonly conditions: readonly string[];
}

/** The ports that an accepting rule opens. */
export function opening({ protocol, ports, from, conditions }: Match, names: PortNames): Effect {
  if (from !== undefined && !from.startsWith(CLIENT))
    return unknown(`lets ${from} in, knock or not: addresses that need no knock belong in "allow"`);
  if (ports === undefined || ports === '')
    return unknown('opens every port: write a service with "ports" for those that are to be hidden');
  const protocols =
    protocol === undefined ? PROTOCOLS : PROTOCOLS.filter(it => it === (NUMBERS[protocol] ?? protocol));
  if (protocols.length === 0) return unknown(`opens something other than TCP or UDP (${protocol})`);
  const ranges = ports.split(',').flatMap(text => protocols.map(it => readRange(text.trim(), it, names)));
  const read = ranges.filter(it => it !== undefined);
  if (read.length < ranges.length) return unknown(`opens ports that cannot be read (${ports})`);
  const notes = conditions.map(it => `the rule is only for ${it}, which is left out`);
  if (from === undefined) notes.push('the rule lets every client in; here only the one that knocked');
  const length = from?.slice(CLIENT.length) ?? '';
  if (length !== '' && length !== '/32' && length !== '/128')
    notes.push(`the rule lets in ${from}; "prefix" does that, for all services`);
  return { does: 'open', ports: read, notes };
}

const PROTOCOLS = ['tcp', 'udp'] as const;
const NUMBERS: Readonly<Record<string, string>> = { '6': 'tcp', '17': 'udp', TCP: 'tcp', UDP: 'udp' };

function readRange(text: string, protocol: 'tcp' | 'udp', names: PortNames): PortRange | undefined {
  const [from = '', to = from, ...more] = text.split(/[:-](?=[\d:-]|$)/);
  const [first, last] = [readPort(from || '1', protocol, names), readPort(to || '65535', protocol, names)];
  if (more.length > 0 || first === undefined || last === undefined || first > last) return undefined;
  return { protocol, first, last };
}

function readPort(text: string, protocol: string, names: PortNames): number | undefined {
  const port = /^\d{1,5}$/.test(text) ? Number(text) : names.get(`${text}/${protocol}`);
  return port !== undefined && port >= 1 && port <= 65_535 ? port : undefined;
}
