import { HIGHEST_PORT, type PortRange } from '../inet/port.ts';
import type { Host } from './host.ts';

/** The first port that needs no privileges. Below it are the well-known services. */
const LOWEST = 1024;
/** With fewer ports than this to choose from, sequences would be easy to guess, or could not be made at all. */
const ENOUGH = 1000;

/** Returns a random whole number from 0 up to, but not including, `limit`. */
type Random = (limit: number) => number;

/**
 * Ports that are good for knocks: above the well-known ones, unused, not `guarded`, and outside the range for outgoing
 * connections. Ports inside that range count only if hardly any are left outside.
 */
export function freePorts(
  { listeners, ephemeral }: Pick<Host, 'listeners' | 'ephemeral'>,
  guarded: readonly PortRange[],
): readonly number[] {
  const used = new Set(listeners.map(({ port }) => port));
  const unused = Array.from({ length: HIGHEST_PORT - LOWEST + 1 }, (_, index) => LOWEST + index).filter(
    port => !used.has(port) && !guarded.some(({ first, last }) => port >= first && port <= last),
  );
  const outside = unused.filter(port => port < ephemeral.first || port > ephemeral.last);
  return outside.length >= ENOUGH ? outside : unused;
}

/**
 * Random sequences of `knocks` TCP ports each, 3 to 32. No port is used twice, neighbours differ by more than 1, and no
 * sequence only rises or falls. Undefined if there are not enough ports.
 */
export function chooseSequences(
  count: number,
  knocks: number,
  free: readonly number[],
  random: Random,
): readonly (readonly number[])[] | undefined {
  const sequences: (readonly number[])[] = [];
  const left = new Set(free);
  while (sequences.length < count) {
    if (left.size < ENOUGH) return undefined;
    const sequence = chooseSequence(knocks, [...left], random);
    for (const port of sequence) left.delete(port);
    sequences.push(sequence);
  }
  return sequences;
}

/** Draws until a sequence is good. With many ports, nearly every second one is. */
function chooseSequence(knocks: number, free: readonly number[], random: Random): readonly number[] {
  for (;;) {
    const ports = new Set<number>();
    while (ports.size < knocks) ports.add(free[random(free.length)] ?? 0);
    const sequence = [...ports];
    if (isGood(sequence)) return sequence;
  }
}

/** Whether a scan of ports in order would not make this sequence, or a part of it. */
function isGood(sequence: readonly number[]): boolean {
  const steps = sequence.slice(1).map((port, index) => port - (sequence[index] ?? 0));
  return (
    steps.every(step => Math.abs(step) > 1) && steps.some(step => step > 0) && steps.some(step => step < 0)
  );
}
