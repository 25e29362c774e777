/** The corpus: inputs that together take all branches known of a target, in files. */
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

const FOLDER = 'test/fuzz/corpus';

const folderOf = (target: string) => join(FOLDER, target);

export function readCorpus(target: string): readonly Buffer[] {
  const folder = folderOf(target);
  if (!existsSync(folder)) return [];
  return readdirSync(folder)
    .sort()
    .map(name => readFileSync(join(folder, name)));
}

/** Puts these inputs in the place of those that are there. */
export function writeCorpus(target: string, inputs: readonly Buffer[]): void {
  const folder = folderOf(target);
  rmSync(folder, { recursive: true, force: true });
  mkdirSync(folder, { recursive: true });
  for (const input of inputs) writeFileSync(join(folder, nameOf(input)), input);
}

const nameOf = (input: Buffer) => createHash('sha256').update(input).digest('hex').slice(0, 12);

/** Keeps an input that showed a fault. Returns its path. */
export function keepFinding(target: string, input: Buffer): string {
  const path = join(folderOf(target), nameOf(input));
  mkdirSync(folderOf(target), { recursive: true });
  writeFileSync(path, input);
  return path;
}
