import type { Config } from '../config/types.ts';
import type { ChainWithRules, Rule } from '../nftables/ruleset.ts';
import type { Automaton } from './automaton.ts';
import { noLinkLocal, rule } from './chain-parts.ts';
import * as elements from './elements.ts';
import * as match from './match.ts';
import { names } from './names.ts';

/** The log prefix under which the kernel reports each token that is used. */
export const USED = 'used';

/**
 * Uses a token up, and opens its service. If two copies arrive on two CPUs at the same instant, only the limit in the element
 * of `used` lets just one of them through. A look-up and a delete do not.
 */
function useOnce({ token: { hours }, log }: Config, where: elements.TokenIn): Rule {
  return rule(
    elements.tokenNotIn(names.used, where),
    elements.markFromToken(names.tokens, where),
    elements.useToken(names.used, usedTimeout(hours), where),
    elements.deleteToken(names.tokens, where),
    match.reportAtOnce(USED, log.group),
    elements.markVerdict(names.arrivals),
  );
}

/** Looks at packets to the token port. A wrong token leaves nothing behind. */
export function token(config: Config): ChainWithRules {
  return {
    name: 'token',
    rules: [
      rule(match.ctState('invalid'), match.leave),
      rule(match.notToUs, match.leave),
      ...noLinkLocal.map(statement => rule(statement)),
      rule(match.protocol('udp'), elements.tooShort, match.leave),
      useOnce(config, 'datagram'),
      rule(match.clearMark),
      rule(elements.tokenNotIn(names.used, 'datagram'), match.count(names.wrongTokens), match.leave),
      rule(match.count(names.repeatedTokens)),
    ],
  };
}

/**
 * Looks for tokens in the data of running connections to some ports. It looks only at data from clients whose address the
 * handshake proved, because a forged SYN with data would open otherwise. Marks of packets without a token stay as they are.
 * Before Linux 6.4 a map can only be asked for what it holds, so the first look sets the mark, which nothing uses.
 */
export function tokenPayload(config: Config): ChainWithRules[] {
  return [
    {
      name: 'token_segment',
      rules: [
        rule(match.clearMark),
        ...noLinkLocal.map(statement => rule(statement)),
        useOnce(config, 'segment'),
        rule(match.clearMark),
      ],
    },
    {
      name: 'token_payload',
      rules: [
        ...(config.interfaces.length > 0 ? [rule(match.jump('interfaces'))] : []),
        rule(
          match.ctState('established'),
          match.provenClient,
          elements.markFromToken(names.tokens, 'segment'),
          match.goto('token_segment'),
        ),
      ],
    },
  ];
}

/** Whether tokens in the data of connections count, too. */
export function looksIntoPayload({ token: { payload } }: Config, { tokens }: Automaton): boolean {
  return tokens.length > 0 && payload.length > 0;
}

/** How long a used token is remembered, in milliseconds. This is longer than any token lives. */
export function usedTimeout(hours: number): number {
  return (hours + 2) * 60 * 60 * 1000;
}
