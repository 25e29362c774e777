import { type Effect, unknown } from '../effect.ts';

/**
 * Why a rule in this chain opens no port of this host; undefined if it does. A chain that another program made may be reached
 * from anywhere.
 */
export function elsewhere(chain: string): Effect | undefined {
  if (/input|inbound|incoming|^in$/i.test(chain)) return undefined;
  if (/forward|docker/i.test(chain))
    return unknown(
      `opens a way to other hosts (chain ${chain}): "hook": "prerouting" guards ports that this host forwards`,
    );
  if (/output|outbound|outgoing|^out$/i.test(chain))
    return unknown(`is for outgoing packets (chain ${chain})`);
  return unknown(
    `changes the chain ${chain || 'of nobody'}, which packets to this host need not pass: if they do, write the service by hand`,
  );
}
