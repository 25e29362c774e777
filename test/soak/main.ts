/**
 * `npm run soak`: an hour, or `npm run soak -- 2m`. `--seed N` repeats the operations of a run that printed it;
 * `--sabotage accept` (or another of SABOTAGES) shows that it can fail.
 */
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { readDurationWord } from '../../src/inet/duration.ts';
import { FIGURES, thirds } from './measure.ts';
import { SABOTAGES } from './sabotage.ts';
import { cannotSoak, type Soaked, soak } from './soak.ts';

/** The least time after which growth is more than noise. */
const GROWS_FROM = 600; // seconds
const FOLDER = 'build/soak';

function usage(why: string): never {
  console.error(`${why}\nnpm run soak -- [TIME] [--seed N] [--sabotage ${SABOTAGES.join('|')}]`);
  process.exit(64);
}

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: { seed: { type: 'string' }, sabotage: { type: 'string' } },
});
const duration = readDurationWord(positionals[0] ?? '1h');
if (!duration.ok) usage(`${positionals[0]} ${duration.wrong}: ${duration.expected}`);
const seed = Number(values.seed ?? Math.floor(Math.random() * 1_000_000));
if (!Number.isSafeInteger(seed)) usage(`--seed ${values.seed} is no number`);
const sabotage = SABOTAGES.find(name => name === values.sabotage);
if (values.sabotage !== undefined && !sabotage) usage(`--sabotage ${values.sabotage} is unknown`);
if (cannotSoak) {
  console.error(`cannot soak: ${cannotSoak}`);
  process.exit(77);
}

/** Its observations, and their number. */
function summary({ counts, samples, exposures }: Soaked): string {
  const longest = Math.max(0, ...exposures);
  return [
    ...[...counts].sort().map(([what, count]) => `${String(count).padStart(8)}  ${what}`),
    `${String(exposures.length).padStart(8)}  times others removed or changed the rules; mended after ${Math.round(longest)} ms at most`,
    ...FIGURES.map(name => `${name}: ${thirds(samples, name).join(' -> ')}`),
  ].join('\n');
}

const seconds = duration.value / 1000;
console.log(`seed ${seed}, ${seconds} s`);
const ends: (() => unknown)[] = [];
const t = { teardown: (end: () => unknown) => void ends.unshift(end) };
let soaked: Soaked;
try {
  soaked = await soak(t, {
    seed,
    seconds,
    growth: seconds >= GROWS_FROM,
    ...(sabotage && { sabotage }),
    print: line => console.log(line),
  });
} finally {
  for (const end of ends) await end();
}
console.log(summary(soaked));
if (soaked.violations.length > 0) {
  mkdirSync(FOLDER, { recursive: true });
  const path = join(FOLDER, `${seed}.log`);
  writeFileSync(path, `seed ${seed}, ${seconds} s\n${soaked.diary.join('\n')}\n`);
  console.log(`\n${soaked.violations.length} violations; all that was done is in ${path}`);
  process.exitCode = 1;
}
