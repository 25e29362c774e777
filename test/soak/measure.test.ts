import t from 'tap';
import { growths, type Sample } from './measure.ts';

const flat: Sample = {
  'memory (kB)': 20_000,
  descriptors: 25,
  files: 5,
  'bytes of files': 5000,
  elements: 500,
};
const samples = (of: (index: number) => Partial<Sample>) =>
  Array.from({ length: 90 }, (_, index) => ({ ...flat, ...of(index) }));

t.test('a figure that goes up and down is flat, and one that only goes up grows', async t => {
  t.strictSame(
    growths(
      samples(index => ({ 'memory (kB)': 20_000 + (index % 7) * 1000, descriptors: 25 + (index % 3) })),
    ),
    [],
  );
  t.match(growths(samples(index => ({ 'memory (kB)': 20_000 + index * 100 }))), [/^memory \(kB\) grew from/]);
  t.match(growths(samples(index => ({ descriptors: 25 + Math.floor(index / 10) }))), [/^descriptors grew/]);
  t.match(growths(samples(index => ({ elements: 500 + index * 10, files: 5 + index }))), [
    /^files grew/,
    /^elements grew/,
  ]);
});
