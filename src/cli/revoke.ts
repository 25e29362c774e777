import { type Cut, cut, type Untracked, whyNotCut } from '../connections/cut.ts';
import { findConnections, type Parts, targetsOf } from '../connections/find.ts';
import { diagnose, withConnection, withKernel } from '../host/access.ts';
import { sshConnection } from '../host/login.ts';
import type { Session } from '../host/sessions.ts';
import { isLacking } from '../host/sockets.ts';
import { formatAddress } from '../inet/address.ts';
import type { Connection } from '../netlink/connection.ts';
import { NetlinkError } from '../netlink/errors.ts';
import { NETLINK_ROUTE } from '../netlink/socket.ts';
import { FEATURES, type Feature } from '../nftables/feature.ts';
import { count } from '../ruleset/describe.ts';
import { isAllowed } from '../ruleset/program.ts';
import { CannotChangeError } from '../table/errors.ts';
import { type Revocation, type Revoked, revoke } from '../table/openings.ts';
import { noteRevocation } from '../table/revocations.ts';
import { type Context, EXIT } from './context.ts';
import { readRevocation, readRevokeWords } from './whom.ts';

interface RevokeOptions {
  readonly all: boolean;
  /** End connections, too. */
  readonly cut: boolean;
}

/** `revoke`: revokes openings, and says which connections go on. */
export async function revokeCommand(
  context: Context,
  words: readonly string[],
  options: RevokeOptions,
): Promise<number> {
  const said = readRevokeWords(words, options.all);
  if (options.cut) process.on('SIGHUP', () => {}); // of our own terminal, when that is cut
  const login = options.cut ? sshConnection(context.env) : undefined;
  let unnoted: string | undefined;
  const { revoked, done } = await withKernel(async ({ connection: netfilter }) => {
    const revoked = await revoke(netfilter, ruleset => readRevocation(said, ruleset), {
      connections: options.cut,
      approve: async revoked => {
        await spareOwnLogin(netfilter, revoked, login);
        unnoted = noteRevocation(context.env, revoked);
      },
    });
    return { revoked, done: options.cut ? await cutAll(netfilter, revoked).catch(notCut) : undefined };
  });
  if (context.json) context.print(JSON.stringify(result(revoked, done)));
  else for (const line of [...openingLines(revoked, done), ...untrackedLines(done)]) context.print(line);
  if (unnoted !== undefined)
    context.tell(
      `knockd-nft: this cannot be noted (${unnoted}): if the table is removed within seconds, the supervisor or an undo may let in again whom it remembers`,
    );
  return tellWhatGoesOn(context, revoked, done);
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

function notCut(error: unknown): never {
  if (!(error instanceof NetlinkError)) throw error;
  const why = isLacking(error) ? withoutModules(FEATURES.tcp_diag) : error.message;
  throw new CannotChangeError(`the openings are revoked, but nothing could be cut: ${why}`);
}

function withoutModules({ modules }: Feature): string {
  return `this kernel lacks the module ${modules.join(', ')}; load it and revoke again`;
}

function result({ openings }: Revoked, done: Cut | undefined) {
  return {
    event: 'revoked',
    revoked: openings.map(({ service, client, user }) => ({ service, client, user })),
    cut: done
      ? { sockets: done.sockets, left: done.left.length + done.anew, untracked: done.untracked }
      : null,
  };
}

/** One line for each opening, and one for the connections. With at most one opening, both stand on one line. */
function openingLines({ revocation, openings }: Revoked, done: Cut | undefined): string[] {
  const lines = openings.map(
    ({ service, client, user }) => `revoked ${service} from ${client}${user === null ? '' : ` (${user})`}`,
  );
  const [only = nobody(revocation), ...others] = lines;
  const connections = connectionsText(done);
  return others.length === 0 ? [`${only}; ${connections}`] : [...lines, connections];
}

function nobody({ services, whom }: Revocation): string {
  const where = services.length === 1 ? `let in to ${services[0]}` : 'in';
  if (whom.is === 'everybody') return `no client was ${where}`;
  return whom.is === 'client' ? `${whom.client} was not ${where}` : `no client was ${where} as ${whom.name}`;
}

function connectionsText(done: Cut | undefined): string {
  if (!done) return 'running connections go on (--cut ends them)';
  const cut = done.sockets + done.untracked.filter(({ to }) => to !== null).length;
  if (cut > 0) return `${count(cut, 'connection')} cut`;
  return done.untracked.length > 0 ? 'no TCP connection to cut' : 'no connection to cut';
}

/** One line for each kind of connection that has no socket here: what was done about it. */
function untrackedLines(done: Cut | undefined): string[] {
  const text = ({ client, port, to }: Untracked) =>
    to === null
      ? `${client} on ${port}: only its tracking was ended; if a program here goes on sending to it, it is let in again`
      : `${client} on ${port}, forwarded to ${to}: only its tracking was ended; ${to} may wait for it a while`;
  return [...new Set(done?.untracked.map(text))];
}

/** Tells what could not be ended, and returns the exit status. */
function tellWhatGoesOn(
  { tell }: Context,
  { ruleset, revocation: { whom } }: Revoked,
  done: Cut | undefined,
): number {
  if (whom.is === 'client' && isAllowed(ruleset, whom.family, whom.key))
    tell(`knockd-nft: ${whom.client} still gets in: "allow" in the configuration names it`);
  if (!done) return EXIT.DONE;
  const [first] = done.left;
  if (first)
    tell(
      `knockd-nft: the openings are revoked, but ${count(done.left.length, 'connection')} could not be cut: ${whyNotCut(first)}`,
    );
  if (done.anew > 0)
    tell(
      `knockd-nft: the openings are revoked, but ${count(done.anew, 'connection')} began again each time they were cut, because a program here speaks first: stop it, and revoke again`,
    );
  if (done.tracksOn)
    tell(
      `knockd-nft: the openings are revoked, but forwarded connections and UDP could not be cut: ${withoutModules(FEATURES.ctnetlink)}`,
    );
  return first || done.anew > 0 || done.tracksOn ? EXIT.FAILED : EXIT.DONE;
}
