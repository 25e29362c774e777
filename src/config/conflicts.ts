// config/ is the file: its syntax, its keys with their shapes and defaults, and problems with their places.
// It gives a Config with every value set, and knows neither kernel nor ruleset.
// Floor 2: it imports only from rooms on lower floors.

import { formatPortRange, type PortRange } from '../inet/port.ts';
import type { Position } from './problems.ts';
import type { Report } from './report.ts';

/** The purpose of a port. */
export type UseKind = 'guarded' | 'public' | 'knock' | 'token';

/** A mention of ports in the file. */
export interface Use extends PortRange {
  readonly kind: UseKind;
  readonly at: Position;
  /** The key, `services.ssh.ports`. */
  readonly where: string;
  /** For a knock, its place in the sequence, from 1. */
  readonly knock?: number;
}

const PORTS = 65536;
const SINGLE_PURPOSE = 'ports that are only one of guarded, public, knocked on, and for tokens';

/**
 * Reports ports with two purposes that exclude each other, each at the later mention. Takes the mentions in the order of the
 * file, and claims each port once for each kind, however many ranges there are.
 */
export function tellConflicts(uses: readonly Use[], report: Report): void {
  const claims = { guarded: new Claims(), public: new Claims(), knock: new Claims(), token: new Claims() };
  for (const [index, use] of uses.entries()) {
    const { fresh, taken } = claims[use.kind].claim(use, index);
    if (use.kind === 'guarded' && taken !== undefined) tellGuardedTwice(use, uses[taken], report);
    // A port that the same kind claimed before was compared then, or when the other kind claimed it.
    const others = use.kind === 'knock' ? [use.first + offset(use)] : fresh;
    for (const kind of OPPOSITES[use.kind]) {
      const other = claims[kind].firstOf(others);
      if (other !== undefined) tellTwoPurposes(use, uses[other], report);
    }
  }
}

const OPPOSITES: Readonly<Record<UseKind, readonly UseKind[]>> = {
  guarded: ['public', 'knock', 'token'],
  public: ['guarded', 'knock', 'token'],
  knock: ['guarded', 'public', 'token'],
  token: ['guarded', 'public', 'knock'],
};

/** For each port of both protocols, the mention that claimed it first. */
class Claims {
  /** The index of the mention + 1; 0 for none. */
  readonly #owners = new Int32Array(2 * PORTS);

  /** Claims the free ports of a range. Returns them, and the mention that claimed the first of the others. */
  claim(range: PortRange, index: number): { fresh: readonly number[]; taken: number | undefined } {
    const fresh: number[] = [];
    let taken: number | undefined;
    const last = range.last + offset(range);
    for (let port = range.first + offset(range); port <= last; port++) {
      const owner = this.#owners[port] ?? 0;
      if (owner > 0) {
        taken ??= owner - 1;
        const next = this.#owners.subarray(0, last + 1).indexOf(0, port); // the next free port
        if (next < 0) break;
        port = next - 1;
      } else {
        this.#owners[port] = index + 1;
        fresh.push(port);
      }
    }
    return { fresh, taken };
  }

  firstOf(ports: readonly number[]): number | undefined {
    for (const port of ports) {
      const owner = this.#owners[port] ?? 0;
      if (owner > 0) return owner - 1;
    }
    return undefined;
  }
}

/** The first index of a protocol: TCP, then UDP. */
function offset({ protocol }: PortRange): number {
  return protocol === 'udp' ? PORTS : 0;
}

function tellGuardedTwice(use: Use, other: Use | undefined, report: Report): void {
  if (other === undefined) return;
  const first = other.where === use.where ? 'this array' : other.where;
  const what = `${formatPortRange(use)} is guarded by ${first} (line ${other.at.line}) already`;
  report.wrong(use.at, use.where, what, 'each guarded port once');
}

/** Names a port only at its guarded or public mention. Which port is a knock is the secret. */
function tellTwoPurposes(use: Use, other: Use | undefined, report: Report): void {
  if (other === undefined) return;
  const place = `${other.where} (line ${other.at.line})`;
  if (use.kind === 'knock') {
    report.wrong(use.at, use.where, `knock ${use.knock} is a port of ${place}`, SINGLE_PURPOSE);
  } else if (other.kind === 'knock') {
    report.wrong(use.at, use.where, `a port here is a knock of ${place}`, SINGLE_PURPOSE);
  } else {
    report.wrong(use.at, use.where, `${formatPortRange(use)} is also in ${place}`, SINGLE_PURPOSE);
  }
}
