import { decodeDatatypes, encodeDatatypes, keySize } from './datatype.ts';
import { VERDICT } from './register.ts';
import type { Ruleset, SetWithElements } from './ruleset.ts';

/** A ruleset as plain data, for `v8.serialize`. Datatypes hold functions, so nft's numbers stand for them. */
export interface SavedRuleset extends Omit<Ruleset, 'sets'> {
  readonly sets: readonly SavedSet[];
}

interface SavedSet extends Omit<SetWithElements, 'types' | 'data'> {
  readonly types: number;
  /** In bytes. */
  readonly keySize: number;
  readonly data?: number | typeof VERDICT;
}

export function saveRuleset(ruleset: Ruleset): SavedRuleset {
  const sets = ruleset.sets.map(({ types, data, ...set }): SavedSet => {
    const code = data === undefined || data === VERDICT ? data : encodeDatatypes([data]);
    return {
      ...set,
      types: encodeDatatypes(types),
      keySize: keySize(types),
      ...(code !== undefined && { data: code }),
    };
  });
  return { ...ruleset, sets };
}

export function restoreRuleset(saved: SavedRuleset): Ruleset {
  const sets = saved.sets.map(({ types, keySize, data, ...set }): SetWithElements => {
    const type = typeof data === 'number' ? decodeDatatypes(data)?.[0] : data;
    return {
      ...set,
      types: decodeDatatypes(types, keySize) ?? [],
      ...(type !== undefined && { data: type }),
    };
  });
  return { ...saved, sets };
}
