/** A value read from text, or what is wrong with the text: `is no port`, and what is expected instead. */
export type Outcome<T> =
  | { readonly ok: true; readonly value: T }
  | { readonly ok: false; readonly wrong: string; readonly expected: string };

export function good<T>(value: T): Outcome<T> {
  return { ok: true, value };
}

export function bad(wrong: string, expected: string): Outcome<never> {
  return { ok: false, wrong, expected };
}
