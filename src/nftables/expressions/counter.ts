import type { Codec } from './codec.ts';

/** Counts packets and bytes in the rule itself. Its count is no part of the program. */
export interface Counter {
  readonly kind: 'counter';
}

export const counter: Codec<Counter> = {
  encode() {},
  decode(reader) {
    while (reader.next());
    return { kind: 'counter' };
  },
  text(_, rule) {
    rule.say('counter');
  },
};
