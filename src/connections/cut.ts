import type { Connection, Request } from '../netlink/connection.ts';
import { deleteAnswers, deleteFlow, detourFlow, type Flow } from '../netlink/conntrack.ts';
import { NetlinkError } from '../netlink/errors.ts';
import { destroySocket, type InetSocket, TCP_STATE } from '../netlink/inet-diag.ts';
import { addressText } from '../ruleset/client.ts';
import { type Found, findConnections, type Parts, type Targets, type Visit } from './find.ts';

export interface Cut {
  /** Sockets of this host that were ended. */
  readonly sockets: number;
  /** For each that goes on, why: {@link whyNotCut}. */
  readonly left: readonly NetlinkError[];
  /** Connections that were there at the last look, though each look before it ended all that could be ended. */
  readonly anew: number;
  /** What is forwarded to another host, and UDP without a socket of its own: their tracking was ended. */
  readonly untracked: readonly Untracked[];
  /** Whether the kernel tracks connections, and has no way to end that. */
  readonly tracksOn: boolean;
}

export interface Untracked {
  readonly client: string;
  /** `8080/tcp`, as the guards know it. */
  readonly port: string;
  /** The address that it is forwarded to; null for UDP to this host. */
  readonly to: string | null;
}

/** How often is looked again. */
const LOOKS = 5;

/**
 * Ends connections, and looks again until there are none: one may have been under way. Their clients must have been taken
 * out of the sets before: new packets would be let in again.
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

/** A flow that has a socket counts as that; one that ended leads nowhere. */
function goesOn({ flow, hasSocket }: Visit): boolean {
  return !hasSocket && !flow.ended;
}

/**
 * Sockets go before their tracking, which alone would end nothing: the next segment that this host sends begins it anew,
 * from its side, and the other end is established again.
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
    const { family, protocol, answers, ended } = flow;
    const end = await (forwarded && !ended ? detour(netfilter, flow) : endBy(netfilter, deleteFlow(flow)));
    if (typeof end === 'object') left.push(end);
    if (end !== 'ended' || ended || hasSocket) continue;
    if (!forwarded && protocol === 'tcp') continue; // its socket is gone already
    untracked.push({
      client: addressText(family, client),
      port: `${to.port}/${protocol}`,
      to: forwarded ? addressText(family, answers.source.address) : null,
    });
  }
  return { sockets, left, anew: 0, untracked, tracksOn: found.tracksOn };
}

/** What is left of a socket that its program closed: older kernels cannot end that, and it leads nowhere. */
function isOver({ state, inode }: InetSocket): boolean {
  return state === TCP_STATE.FIN_WAIT2 && inode === 0;
}

/** Why the kernel did not end a connection, and what to do. */
export function whyNotCut({ code, message }: NetlinkError): string {
  // Node's name for EOPNOTSUPP
  if (code === 'ENOTSUP')
    return 'this kernel cannot end connections of programs (it lacks CONFIG_INET_DIAG_DESTROY); "ss -tnp" shows the programs to stop';
  if (code === 'EBUSY') return 'a flowtable leads their packets past all rules; remove it and revoke again';
  return `the kernel refuses ${message}; revoke again`;
}

/** How it went to end something: it may have ended by itself, or the kernel refuses. */
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

/** Ends the tracking of a forwarded flow, and leads astray what its other end still sends: both at once. */
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
