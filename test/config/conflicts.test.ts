import { isDeepStrictEqual } from 'node:util';
import fc from 'fast-check';
import t from 'tap';
import { tellConflicts, type Use, type UseKind } from '../../src/config/conflicts.ts';
import { Report } from '../../src/config/report.ts';

const use = fc
  .record({
    kind: fc.constantFrom<UseKind>('guarded', 'public', 'knock'),
    protocol: fc.constantFrom('tcp', 'udp'),
    first: fc.oneof(fc.integer({ min: 1, max: 12 }), fc.integer({ min: 65530, max: 65535 })),
    length: fc.nat(5),
  })
  .map(({ kind, protocol, first, length }) => {
    const last = kind === 'knock' ? first : Math.min(first + length, 65535);
    return { kind, protocol, first, last };
  });

/** Every port against every earlier mention, one by one. */
function isConflict(uses: readonly Use[], index: number): boolean {
  const { kind, protocol, first, last } = uses[index] ?? {
    kind: 'knock',
    protocol: 'tcp',
    first: 0,
    last: 0,
  };
  for (let port = first; port <= last; port++) {
    const earlier = uses
      .slice(0, index)
      .filter(other => other.protocol === protocol && other.first <= port && port <= other.last)
      .map(other => other.kind);
    if (kind === 'guarded' && earlier.length > 0) return true;
    if (kind === 'knock' && (earlier.includes('guarded') || earlier.includes('public'))) return true;
    // A port that is public twice is reported with its first mention.
    if (kind === 'public' && !earlier.includes('public') && earlier.length > 0) return true;
  }
  return false;
}

t.test('exactly the mentions of ports that exclude an earlier one are reported', t => {
  fc.assert(
    fc.property(fc.array(use, { maxLength: 12 }), parts => {
      const uses = parts.map(
        (part, index): Use => ({ ...part, at: { line: index + 1, column: 1 }, where: 'x', knock: 1 }),
      );
      const report = new Report('FILE');
      tellConflicts(uses, report);
      const told = [...new Set(report.problems.map(problem => (problem.line ?? 0) - 1))];
      return isDeepStrictEqual(
        told,
        uses.map((_, index) => index).filter(index => isConflict(uses, index)),
      );
    }),
    { numRuns: 300 },
  );
  t.end();
});
