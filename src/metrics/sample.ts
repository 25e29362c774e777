// metrics/ has the figures to measure, as a sample and as OpenMetrics text.
// The floors above decide when to take a sample.
// Floor 6: it imports only from rooms on lower floors.

import { names } from '../ruleset/names.ts';

/** All figures at one moment; undefined for those that are not known here. No addresses, no secrets. */
export interface Sample {
  readonly version: string;
  readonly supervisor: boolean;
  readonly loaded: boolean;
  /** Whether the kernel has what the file says. */
  readonly inSync: boolean | undefined;
  /** The kernel is left as it is, by a trial or by hand. */
  readonly held: boolean;
  /** The number of tasks that the supervisor cannot do at present. */
  readonly troubles: number;
  readonly services: readonly ServiceSample[];
  /** Clients in mid-sequence. */
  readonly knocking: number | undefined;
  readonly wrongKnocks: number;
  readonly tokens: TokenSample | undefined;
  /** Since the supervisor was started. */
  readonly lostEvents: number | undefined;
}

/** Counted since the service was first loaded. */
export interface ServiceSample {
  readonly name: string;
  readonly opened: number;
  /** Undefined if there are no ports. */
  readonly accepted: number | undefined;
  readonly refused: number | undefined;
  readonly clients: number | undefined;
}

interface TokenSample {
  /** When the last one in the kernel ends, in milliseconds of the epoch. */
  readonly until: number | undefined;
  readonly wrong: number;
  readonly repeated: number;
}

/** The counters of the kernel's table, by service. */
export function countedOf(
  counters: ReadonlyMap<string, number>,
  services: readonly string[],
): Pick<Sample, 'wrongKnocks'> & {
  readonly services: readonly Omit<ServiceSample, 'clients'>[];
  readonly tokens: Omit<TokenSample, 'until'>;
} {
  const counted = (name: string) => counters.get(name) ?? 0;
  return {
    services: services.map(name => ({
      name,
      opened: counted(names.opened(name)),
      accepted: counters.get(names.accepted(name)),
      refused: counters.get(names.refused(name)),
    })),
    wrongKnocks: counted(names.wrongKnocks),
    tokens: { wrong: counted(names.wrongTokens), repeated: counted(names.repeatedTokens) },
  };
}
