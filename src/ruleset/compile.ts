import { createHash } from 'node:crypto';
import type { Config, Service } from '../config/types.ts';
import type { NamedCounter, Ruleset } from '../nftables/ruleset.ts';
import { compileAutomaton } from './automaton.ts';
import { compileChains } from './chains.ts';
import { MARK, names } from './names.ts';
import { compileSets, opens } from './sets.ts';

/**
 * The table that a configuration means: all that we want in the kernel. This is a pure function.
 * `version` is the version of this program, for the comment on the first rule.
 */
export function compile(config: Config, version: string): Ruleset {
  const automaton = compileAutomaton(config.services, config.token.realm);
  return {
    table: { name: config.table, comment: MARK },
    counters: [
      ...config.services.flatMap(serviceCounters),
      newCounter(names.wrongKnocks),
      ...(automaton.tokens.length > 0 ? [names.wrongTokens, names.repeatedTokens].map(newCounter) : []),
    ],
    sets: compileSets(config, automaton),
    chains: compileChains(config, automaton, `${MARK} ${version} ${fingerprint(config)}`),
  };
}

/** Eight hex digits that change with any setting that affects the table. */
function fingerprint({ log: { level, format, ...log }, metrics, ...config }: Config): string {
  return createHash('sha256')
    .update(JSON.stringify({ ...config, log }))
    .digest('hex')
    .slice(0, 8);
}

function serviceCounters(service: Service): NamedCounter[] {
  const { name } = service;
  const guarding = opens(service) ? [names.accepted(name), names.refused(name)] : [];
  return [names.opened(name), ...guarding].map(newCounter);
}

function newCounter(name: string): NamedCounter {
  return { name, packets: 0, bytes: 0 };
}
