import type { Use } from '../feeder/feed.ts';
import { masked } from '../inet/address.ts';
import type { LoggedPacket } from '../netlink/nflog.ts';
import { clientText } from '../ruleset/client.ts';
import { USED } from '../ruleset/token-chains.ts';
import type { KnownClient } from '../table/clients.ts';
import { tokenOfPacket } from '../token/read.ts';
import { cameAt } from './events.ts';
import type { LoadOutcome } from './job.ts';

/** The events in the packets that the kernel reports. */
type Heard =
  | { readonly is: 'used'; readonly use: Use }
  | { readonly is: 'refused'; readonly service: string; readonly client: string }
  | {
      readonly is: 'opened';
      readonly client: KnownClient;
      /** When the packet came at the latest, as `monotonic` counts. */
      readonly latest: number;
      /** The opening is for some time, and not for one connection. */
      readonly lasts: boolean;
    };

/**
 * Understands a packet by its log prefix and its mark, with the configuration that is loaded. It came no earlier than
 * `earliest`. Undefined if it is not about a service of that configuration.
 */
export function heard(
  packet: LoggedPacket,
  load: LoadOutcome | undefined,
  earliest: number,
): Heard | undefined {
  const { family, prefix, mark, source } = packet;
  if (prefix === USED) return { is: 'used', use: { place: mark, token: tokenOfPacket(packet.packet) } };
  const [event, name = ''] = prefix.split(' ');
  const service = load?.services.get(name);
  if (!load || !service) return undefined;
  const length = load.prefix[family];
  const key = masked(source, length);
  if (event === 'refused') return { is: 'refused', service: name, client: clientText(family, key, length) };
  const { openFor: timeout, singleUse } = service;
  // a place that this load does not have is that of a user who came after it; by his place he can be revoked, or go
  const place = load.users.get(mark) === null ? null : mark;
  const came = cameAt(packet, earliest);
  const until = came.earliest + (timeout ?? 0);
  const client = { service: name, family, key, place, timeout, until, granted: false };
  return { is: 'opened', client, latest: came.latest, lasts: !singleUse && timeout !== null };
}
