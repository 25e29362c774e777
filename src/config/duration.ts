import { readDuration, type Span, USUAL } from '../inet/duration.ts';
import { bad } from '../inet/outcome.ts';
import type { Shape } from './shape.ts';

/** nft's notation for JSON Schema, which must also reject an empty string. */
const SCHEMA_PATTERN = '^(?=.)([0-9]+d)?([0-9]+h)?([0-9]+m)?([0-9]+s)?([0-9]+ms)?$';

export function durationWithin(span: Span): Shape<number> {
  return {
    schema: {
      anyOf: [
        { type: 'number', minimum: span.shortest / 1000, maximum: span.longest / 1000 },
        { type: 'string', pattern: SCHEMA_PATTERN },
      ],
    },
    read(node, report, where) {
      const written = node.kind === 'number' || node.kind === 'string';
      const outcome = written ? readDuration(node.value, span) : bad('is no duration', span.expected);
      return report.outcome(node, where, outcome);
    },
  };
}

export const duration = durationWithin(USUAL);
