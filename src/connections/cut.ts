// connections/ finds the running connections of clients, and ends them.
// It asks connection tracking, the sockets and the routes, and leaves our table alone.
// Floor 5: it imports only from rooms on lower floors.

import { formatAddress } from '../inet/address.ts';
import type { Connection, Request } from '../netlink/connection.ts';
import { deleteAnswers, deleteFlow, detourFlow, type Flow } from '../netlink/conntrack.ts';
import { NetlinkError } from '../netlink/errors.ts';
import { destroySocket, type InetSocket, TCP_STATE } from '../netlink/inet-diag.ts';
import { type Found, findConnections, type Parts, type Targets, type Visit } from './find.ts';

export interface Cut {
  /** How many sockets of this host were ended. */
  readonly sockets: number;
  /** For each connection that goes on, the reason: {@link whyNotCut}. */
  readonly left: readonly NetlinkError[];
  /** How many connections were there at the last look, although each look before ended all that it could. */
  readonly anew: number;
  /** Forwarded connections, and UDP without a socket of its own. Their tracking was ended. */
  readonly untracked: readonly Untracked[];
  /** Whether the kernel tracks connections, and has no way to end that. */
  readonly tracksOn: boolean;
}

export interface Untracked {
  readonly client: string;
  /** `8080/tcp`, as the guards know it. */
  readonly port: string;
  /** The address that the connection is forwarded to; null for UDP to this host. */
  readonly to: string | null;
}

/** How often to look again. */
const LOOKS = 5;

/**
 * Ends connections, and looks again until there are none, because one may have been under way. First take their clients out
 * of the sets: otherwise their next packets would be let in again.
 */
export async function cut(parts: Parts, targets: Targets): Promise<Cut> {
  const cuts: Cut[] = [];
  for (let look = 1; ; look++) {
    const found = await findConnections(parts, targets);
    const sockets = found.sockets.filter(socket => !isOver(socket));
    const running = sockets.length + found.visits.filter(goesOn).length;
    const refused = cuts.at(-1)?.left.length ?? 0;
    if (cuts.length > 0 && (running === 0 || refused > 0 || look > LOOKS))
      return {
        sockets: cuts.reduce((sum, { sockets }) => sum + sockets, 0),
        left: cuts.at(-1)?.left ?? [],
        anew: Math.max(0, running - refused),
        untracked: cuts.flatMap(({ untracked }) => untracked),
        tracksOn: found.tracksOn,
      };
    cuts.push(await cutFound(parts, found));
  }
}

/** Whether a flow goes on. One with a socket counts as that socket, and one that ended leads nowhere. */
function goesOn({ flow, hasSocket }: Visit): boolean {
  return !hasSocket && !flow.ended;
}

/**
 * Ends sockets before their tracking. Ending the tracking alone would end nothing: the next segment that this host sends
 * begins it anew, from this side, and the peer is established again.
 */
async function cutFound({ netfilter, diagnostics }: Parts, found: Found): Promise<Cut> {
  let sockets = 0;
  const left: NetlinkError[] = [];
  for (const socket of found.sockets) {
    const end = await endBy(diagnostics, destroySocket(socket));
    if (end === 'ended') sockets++;
    else if (end !== 'gone' && !isOver(socket)) left.push(end);
  }

  const untracked: Untracked[] = [];
  for (const { flow, client, end: to, forwarded, hasSocket } of found.visits) {
    const { protocol, answers, ended } = flow;
    const end = await (forwarded && !ended ? detour(netfilter, flow) : endBy(netfilter, deleteFlow(flow)));
    if (typeof end === 'object') left.push(end);
    if (end !== 'ended' || ended || hasSocket) continue;
    if (!forwarded && protocol === 'tcp') continue; // its socket is gone already
    untracked.push({
      client: formatAddress(client),
      port: `${to.port}/${protocol}`,
      to: forwarded ? formatAddress(answers.source.address) : null,
    });
  }
  return { sockets, left, anew: 0, untracked, tracksOn: found.tracksOn };
}

/** Whether a socket is only the rest after its program closed it. Older kernels cannot end that, and it leads nowhere. */
function isOver({ state, inode }: InetSocket): boolean {
  return state === TCP_STATE.FIN_WAIT2 && inode === 0;
}

/** Why the kernel did not end a connection, and what to do. */
export function whyNotCut({ code, message }: NetlinkError): string {
  // Node's name for EOPNOTSUPP
  if (code === 'ENOTSUP')
    return 'this kernel cannot end connections of programs (it lacks CONFIG_INET_DIAG_DESTROY); "ss -tnp" shows the programs to stop';
  if (code === 'EBUSY') return 'a flowtable takes their packets past all rules: remove it and revoke again';
  return `the kernel refuses ${message}; revoke again`;
}

/** How an attempt to end something went. It may have ended by itself, or the kernel refuses. */
type End = 'ended' | 'gone' | NetlinkError;

async function endBy(asked: Connection, request: Request): Promise<End> {
  try {
    await asked.acknowledge(request);
    return 'ended';
  } catch (error) {
    if (!(error instanceof NetlinkError)) throw error;
    return error.code === 'ENOENT' || error.code === 'ESTALE' ? 'gone' : error;
  }
}

/** How often packets of a busy connection may come in between. */
const ATTEMPTS = 100;

/** Ends the tracking of a forwarded flow, and at the same time leads astray what the host behind it still sends. */
async function detour(netfilter: Connection, flow: Flow): Promise<End> {
  const attempt = (deletion: Request) =>
    Promise.all([endBy(netfilter, deletion), endBy(netfilter, detourFlow(flow))]);
  let [deleted, detoured] = await attempt(deleteFlow(flow));
  if (deleted !== 'ended') {
    if (detoured === 'ended') await endBy(netfilter, deleteAnswers(flow));
    return deleted;
  }
  for (let left = ATTEMPTS; left > 0 && typeof detoured === 'object' && detoured.code === 'EEXIST'; left--)
    [deleted, detoured] = await attempt(deleteAnswers(flow));
  return detoured;
}
