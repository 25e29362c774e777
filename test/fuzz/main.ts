/**
 * `npm run fuzz`: every target for a minute; `npm run fuzz -- config 10m` some of them for longer. The inputs that together take all
 * branches become the corpus, and one that shows a fault joins it. `--seed N` begins with the same changes.
 */
import { parseArgs } from 'node:util';
import { readDurationWord } from '../../src/inet/duration.ts';
import { numbers } from '../numbers.ts';
import { keepFinding, readCorpus, writeCorpus } from './corpus.ts';
import { fuzz, reduced } from './fuzzer.ts';
import { instrumented } from './instrument.ts';
import { explained, TARGETS } from './targets.ts';

function usage(why: string): never {
  console.error(`${why}\nnpm run fuzz -- [${TARGETS.join('|')}] [TIME] [--seed N]`);
  process.exit(64);
}

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: { seed: { type: 'string' } },
});
const words = positionals.filter(word => !TARGETS.some(target => target === word));
const duration = readDurationWord(words[0] ?? '1m');
if (!duration.ok || words.length > 1) usage(`${words.join(' ')}: neither a target nor a time`);
const seed = Number(values.seed ?? Math.floor(Math.random() * 1_000_000));
if (!Number.isSafeInteger(seed)) usage(`--seed ${values.seed} is no number`);
const chosen = TARGETS.filter(target => positionals.length === words.length || positionals.includes(target));

for (const name of chosen) {
  const target = await instrumented(name);
  const end = performance.now() + duration.value;
  const { tried, taken, branches, kept, finding } = await fuzz(target, {
    next: numbers(seed),
    corpus: readCorpus(name),
    goesOn: () => performance.now() < end,
  });
  console.log(`${name}: seed ${seed}, ${tried} inputs, ${taken} of ${branches} branches`);
  if (finding) {
    console.log(`${keepFinding(name, finding.input)}: ${explained(name, finding.input, finding.fault)}`);
    process.exitCode = 1;
  } else {
    const corpus = await reduced(target, kept);
    writeCorpus(name, corpus);
    console.log(
      `  ${corpus.length} inputs in the corpus, ${corpus.reduce((sum, it) => sum + it.length, 0)} bytes`,
    );
  }
}
