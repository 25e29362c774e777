import { createHash } from 'node:crypto';
import type { Config } from '../config/types.ts';
import { FAMILIES } from '../inet/family.ts';
import { mergePortRanges, type Port } from '../inet/port.ts';
import { DATATYPES } from '../nftables/datatype.ts';
import { intervalTexts, prefixElements } from '../nftables/interval.ts';
import type { Ruleset } from '../nftables/ruleset.ts';
import { VERSION } from '../version.ts';
import { type Automaton, compileAutomaton, knockCode, START } from './automaton.ts';
import { compileChains } from './chains.ts';
import { MARK, names } from './names.ts';
import { type CompiledSequence, type Program, remember, sorted } from './program.ts';
import { newCounter, objectsOf, opens } from './service.ts';
import { compileSets } from './sets.ts';

/**
 * The table that a configuration means: all that we want in the kernel. This is a pure function. {@link decompile} knows
 * its program. `version` is the version of this program, for the comment on the first rule.
 */
export function compile(config: Config, version = VERSION): Ruleset {
  const automaton = compileAutomaton(config.services, config.token.realm);
  const ruleset = {
    table: { name: config.table, comment: MARK },
    counters: [
      ...config.services.flatMap(service => objectsOf(config, service).counters),
      newCounter(names.wrongKnocks),
      ...(automaton.tokens.length > 0 ? [names.wrongTokens, names.repeatedTokens].map(newCounter) : []),
    ],
    sets: compileSets(config, automaton),
    chains: compileChains(config, automaton, `${MARK} ${version} ${fingerprint(config)}`),
  };
  remember(ruleset, () => programOf(config, automaton));
  return ruleset;
}

/** Eight hex digits that change with any setting that affects the table. */
function fingerprint({ log: { level, format, ...log }, metrics, ...config }: Config): string {
  return createHash('sha256')
    .update(JSON.stringify({ ...config, log }))
    .digest('hex')
    .slice(0, 8);
}

/** The program that {@link decompile} reads back from the table of this configuration. */
export function programOf(
  config: Config,
  automaton = compileAutomaton(config.services, config.token.realm),
): Program {
  const { services, hook, policy, priority, strict, interfaces, prefix, limits, log, table } = config;
  const follow = follower(automaton);
  return {
    ...{ table, policy, priority, hook, strict, interfaces, prefix, limits },
    allow: FAMILIES.flatMap(family =>
      intervalTexts({
        types: [family === 'ipv4' ? DATATYPES.ipv4_addr : DATATYPES.ipv6_addr],
        elements: prefixElements(config.allow.filter(network => network.family === family)),
      }),
    ),
    public: mergePortRanges(config.public),
    log: {
      refused: services.some(opens) ? log.refused : undefined,
      group: services.length > 0 ? log.group : undefined,
    },
    services: new Map(
      services.map(service => [
        service.name,
        {
          ports: mergePortRanges(service.ports),
          openFor: opens(service) ? service.openFor : undefined,
          singleUse: opens(service) && service.singleUse,
          closed: opens(service) ? service.closed : undefined,
          sequences: sorted(service.sequences.map(({ user, knocks }) => ({ user, ...follow(knocks) }))),
        },
      ]),
    ),
    openings: new Map(
      automaton.arrivals.flatMap(arrival =>
        arrival.does === 'open'
          ? [[arrival.place, { service: arrival.service, user: arrival.user }] as const]
          : [],
      ),
    ),
    guards: true,
  };
}

/** Follows knocks through the automaton. */
function follower({ steps, arrivals }: Automaton) {
  const next = new Map(steps.map(({ from, knock, to }) => [`${from} ${knockCode(knock)}`, to]));
  const pauses = new Map(arrivals.flatMap(it => (it.does === 'open' ? [] : [[it.place, it.timeout]])));
  return (knocks: readonly Port[]): Pick<CompiledSequence, 'places' | 'pauses'> => {
    let at = START;
    const places = knocks.map(knock => {
      at = next.get(`${at} ${knockCode(knock)}`) ?? START;
      return at;
    });
    return { places, pauses: places.flatMap(place => pauses.get(place) ?? []) };
  };
}
