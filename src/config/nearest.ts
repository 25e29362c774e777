/** The name that needs the fewest insertions, deletions and replacements; the first of several. */
export function nearest(word: string, names: readonly string[]): string | undefined {
  const short = word.slice(0, 40).toLowerCase(); // the cost is the product of the lengths
  let best: { name: string; cost: number } | undefined;
  for (const name of names) {
    const cost = distance(short, name.toLowerCase());
    if (best === undefined || cost < best.cost) best = { name, cost };
  }
  return best?.name;
}

/** Levenshtein's distance, one row at a time. */
function distance(a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, column) => column);
  for (const [index, letter] of [...a].entries()) {
    const next = [index + 1];
    for (let column = 1; column <= b.length; column++) {
      const replaced = (row[column - 1] ?? 0) + Number(letter !== b[column - 1]);
      next.push(Math.min(replaced, (row[column] ?? 0) + 1, (next[column - 1] ?? 0) + 1));
    }
    row = next;
  }
  return row[b.length] ?? 0;
}
