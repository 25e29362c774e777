import t from 'tap';
import type { Sabotage } from './sabotage.ts';
import { cannotSoak, soak } from './soak.ts';

const skip = cannotSoak;
/** Of every run, so that the operations are always the same. */
const SEED = 20_26;

t.test(
  'for two minutes of edits, damage and dead supervisors nobody is in without a knock, and no client that knocked is turned away',
  { skip },
  async t => {
    const { violations, diary, counts } = await soak(t, {
      seed: SEED,
      seconds: 120,
      growth: false,
      print: line => t.comment(line),
    });
    t.strictSame(violations, [], violations.length > 0 ? diary.join('\n') : 'no violation');
    for (const [what, count] of counts) t.comment(`${count} ${what}`);
    for (const needed of [
      'attempts of a stranger on a guarded port',
      'visits to ssh that had to find it open',
      'visits to ssh that had to find it closed',
      'visits to web that had to find it open',
      'visits to once that had to find it open',
      'messages over open sessions',
      'tokens that a stranger repeated',
    ])
      t.ok((counts.get(needed) ?? 0) > 0, needed);
  },
);

/** A broken promise is seen in more ways than one, and chance decides which is the first: a soak goes on until the right one. */
const sabotages: readonly { readonly by: Sabotage; readonly caught: RegExp; readonly seconds: number }[] = [
  { by: 'accept', caught: /a stranger got in to port \d+ .*\n {4}after .*#\d/, seconds: 60 },
  { by: 'forget', caught: /found ssh silent .*, and it had to be open\n {4}after .*#\d/, seconds: 60 },
  { by: 'cut', caught: /the session of .* is dead\n {4}after .*#\d/, seconds: 60 },
  { by: 'descriptors', caught: /descriptors grew from \d+ to \d+/, seconds: 15 },
];
for (const { by, caught, seconds } of sabotages)
  t.test(`a broken promise is caught, with the operations before it: ${by}`, { skip }, async t => {
    const growth = by === 'descriptors';
    const { violations } = await soak(t, {
      seed: SEED,
      seconds,
      growth,
      sabotage: by,
      until: caught,
      print: line => t.comment(line),
    });
    t.match(violations.join('\n'), caught);
  });
