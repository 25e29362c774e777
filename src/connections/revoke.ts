import { diagnose, withConnection, withKernel } from '../host/access.ts';
import type { Session } from '../host/sessions.ts';
import { isLacking } from '../host/sockets.ts';
import { formatAddress } from '../inet/address.ts';
import type { Connection } from '../netlink/connection.ts';
import { NetlinkError } from '../netlink/errors.ts';
import { NETLINK_ROUTE } from '../netlink/socket.ts';
import { FEATURES, type Feature } from '../nftables/feature.ts';
import type { Ruleset } from '../nftables/ruleset.ts';
import { CannotChangeError } from '../table/errors.ts';
import { type Revocation, type Revoked, revoke } from '../table/openings.ts';
import { noteRevocation } from '../table/revocations.ts';
import { Writer } from '../table/writer.ts';
import { type Cut, cut } from './cut.ts';
import { findConnections, type Parts, targetsOf } from './find.ts';

/** A revocation that is done. */
interface Done {
  readonly revoked: Revoked;
  /** The result for the connections; undefined if they were to go on. */
  readonly done: Cut | undefined;
  /** Why it could not be noted; undefined if it was. */
  readonly unnoted: string | undefined;
}

/**
 * Revokes openings, and ends the connections of their clients if `cut` says so. `login` is the caller's own connection. `ask` is
 * as for {@link revoke}. Throws {@link CannotChangeError} before anything is changed if that would cut `login`, and after it if
 * nothing could be cut.
 */
export function revokeOpenings(
  env: NodeJS.ProcessEnv,
  ask: (ruleset: Ruleset) => Revocation,
  options: { readonly cut: boolean; readonly login: Session | undefined },
): Promise<Done> {
  return withKernel(async ({ connection: netfilter }) => {
    let unnoted: string | undefined;
    const revoked = await revoke(new Writer(netfilter), ask, {
      connections: options.cut,
      approve: async revoked => {
        if (options.cut) await spareOwnLogin(netfilter, revoked, options.login);
        unnoted = await noteRevocation(env, revoked);
      },
    });
    const done = options.cut ? await cutAll(netfilter, revoked).catch(notCut) : undefined;
    return { revoked, done, unnoted };
  });
}

/** Refuses to cut the caller's own login, unless its address is named. */
async function spareOwnLogin(
  netfilter: Connection,
  revoked: Revoked,
  login: Session | undefined,
): Promise<void> {
  const { services, whom } = revoked.revocation;
  if (!login || whom.is === 'client') return;
  // connections that cannot be found are not cut either
  const found = await withParts(netfilter, parts => findConnections(parts, targetsOf(revoked))).catch(
    error => {
      if (!(error instanceof NetlinkError)) throw error;
    },
  );
  const isOwn = ({ port, peer }: { port: number; peer: Buffer }) =>
    port === login.port && peer.equals(login.peer);
  if (!found?.sockets.some(isOwn)) return;
  const service = services.length === 1 ? `${services[0]} ` : '';
  throw new CannotChangeError(
    `this would cut the connection of your own login, so nothing was changed; if you mean it, name its address: knockd-nft revoke ${service}${formatAddress(login.peer)} --cut`,
  );
}

function cutAll(netfilter: Connection, revoked: Revoked): Promise<Cut> {
  return withParts(netfilter, parts => cut(parts, targetsOf(revoked)));
}

function withParts<T>(netfilter: Connection, use: (parts: Parts) => Promise<T>): Promise<T> {
  return diagnose(diagnostics =>
    withConnection(NETLINK_ROUTE, routes => use({ netfilter, diagnostics, routes })),
  );
}

/** Whatever failed, the caller hears that the openings are revoked. */
function notCut(error: unknown): never {
  const reason = error instanceof Error ? error.message : error;
  const why = isLacking(error) ? withoutModules(FEATURES.tcp_diag) : reason;
  throw new CannotChangeError(`the openings are revoked, but nothing could be cut: ${why}`);
}

/** For a kernel that cannot list what is to be cut. */
export function withoutModules({ modules }: Feature): string {
  return `this kernel lacks the module ${modules.join(', ')}; load it and revoke again`;
}
