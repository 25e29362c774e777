/** Numbers that are the same in every run with the same seed (Park and Miller). */
export interface Numbers {
  /** A whole number from 0 up to, and without, `bound`. */
  below(bound: number): number;
  /** One of the values. */
  of<Value>(values: readonly [Value, ...Value[]]): Value;
  /** Whether something happens that happens this often: 0.25 is once in four times. */
  chance(share: number): boolean;
}

export function numbers(seed: number): Numbers {
  let state = (seed % 0x7ffffffe) + 1;
  const below = (bound: number) => {
    state = (state * 48271) % 0x7fffffff;
    return state % bound;
  };
  return {
    below,
    of: values => values[below(values.length)] ?? values[0],
    chance: share => below(10_000) < share * 10_000,
  };
}
