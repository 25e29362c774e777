/** `broken`: something does not do what it should. `risk`: it does, but not reliably. `note`: worth knowing. */
export type Severity = 'broken' | 'risk' | 'note';

/** All kinds of findings, for programs. */
export type FindingId =
  | 'automatic-helpers'
  | 'client-kept-out'
  | 'clients-dropped'
  | 'clients-restricted'
  | 'clients-unknown'
  | 'clock-unknown'
  | 'clock-unsynchronized'
  | 'configuration-invalid'
  | 'configuration-weak'
  | 'connections-few'
  | 'connections-full'
  | 'datagrams-bridged'
  | 'environment-invalid'
  | 'file-readable'
  | 'flush-at-stop'
  | 'flush-ruleset'
  | 'forwarded-past-guard'
  | 'fwmark-reflect'
  | 'group-taken'
  | 'held'
  | 'interface-absent'
  | 'kernel-feature'
  | 'knock-port-ephemeral'
  | 'knock-port-in-use'
  | 'knocks-dropped'
  | 'knocks-forwarded'
  | 'knocks-unknown'
  | 'legacy-tables'
  | 'no-interface'
  | 'no-nftables'
  | 'no-supervisor'
  | 'not-at-boot'
  | 'not-in-sync'
  | 'not-loaded'
  | 'not-looked-at'
  | 'not-permitted'
  | 'nothing-guarded'
  | 'nothing-listens'
  | 'other-file'
  | 'reachable-around'
  | 'proxied-first'
  | 'redirected-around'
  | 'services-cannot-read'
  | 'stands-out'
  | 'supervisor-troubled'
  | 'table-foreign'
  | 'token-port-taken'
  | 'tokens-ran-out'
  | 'tokens-unkept'
  | 'untracked';

/** One thing that is not as it should be. It never contains a knock's port. */
export interface Finding {
  readonly id: FindingId;
  readonly severity: Severity;
  /** The fact, in one line. */
  readonly what: string;
  /** Why it matters. */
  readonly why: string;
  /** The command that mends it, or what to write into the configuration. */
  readonly mend: string;
}

/** A check, and its findings. */
export interface Checked {
  readonly name: string;
  /** The text if nothing was found. */
  readonly fine: string;
  readonly findings: readonly Finding[];
}

/** `a`, `a and b`, `a, b and 3 more` */
export function list(words: readonly string[], most = 4): string {
  const told = words.length > most ? [...words.slice(0, most - 1), `${words.length - most + 1} more`] : words;
  const last = told.at(-1) ?? '';
  return told.length > 1 ? `${told.slice(0, -1).join(', ')} and ${last}` : last;
}
