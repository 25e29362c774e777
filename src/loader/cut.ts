import { readFileSync } from 'node:fs';
import type { Family, Protocol } from '../config/types.ts';
import type { Connection, Request } from '../netlink/connection.ts';
import {
  decodeFlow,
  deleteAnswers,
  deleteFlow,
  detourFlow,
  type Flow,
  listFlows,
} from '../netlink/conntrack.ts';
import { NetlinkError } from '../netlink/errors.ts';
import { destroySocket, type InetSocket, readSockets, TCP_STATE } from '../netlink/inet-diag.ts';
import { isLocal } from '../netlink/route.ts';
import { addressText } from '../ruleset/client.ts';
import { masked } from '../ruleset/match.ts';
import { FAMILIES, names } from '../ruleset/names.ts';
import { guardMap, isAllowed, portsOf, readPrefix } from '../ruleset/program.ts';
import { clientKeys, type Revoked } from './grants.ts';
import { WITH_PEER } from './sessions.ts';

/** Which connections are to end. */
export interface Targets {
  /** Guarded ports, as `22/tcp`. */
  readonly ports: ReadonlySet<string>;
  /** Whether the guards look at the port that a packet was sent to, and not at the one that DNAT made of it. */
  readonly beforeDnat: boolean;
  /** Whether connections of this address are meant. */
  readonly isMeant: (family: Family, address: Buffer) => boolean;
}

/** What a revocation cuts. Who stands in `allow` needs no opening, so everybody is everybody else. */
export function targetsOf({ ruleset, revocation, openings }: Revoked): Targets {
  const prefix = readPrefix(ruleset);
  const keys = new Map(FAMILIES.map(family => [family, clientKeys(revocation.whom, family, openings)]));
  return {
    ports: portsOf(ruleset, revocation.services),
    beforeDnat: guardMap(ruleset) === names.guards,
    isMeant: (family, address) =>
      keys.get(family)?.has(masked(address, prefix[family]).toString('hex')) ??
      !isAllowed(ruleset, family, address),
  };
}

/** Connections to the parts of the kernel that are asked, by their netlink families. */
export interface Parts {
  readonly netfilter: Connection;
  readonly diagnostics: Connection;
  readonly routes: Connection;
}

export interface Cut {
  /** Sockets of this host that were ended. */
  readonly sockets: number;
  /** For each that goes on, why: {@link whyNotCut}. */
  readonly left: readonly NetlinkError[];
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

/**
 * Ends connections. Their clients must have been taken out of the sets before: new packets would be let in again.
 *
 * Sockets go before their tracking, which alone would end nothing: the next segment that this host sends begins it anew,
 * from its side, and the other end is established again.
 */
export async function cut({ netfilter, diagnostics, routes }: Parts, targets: Targets): Promise<Cut> {
  const isOurs = remembering((address: Buffer) => isLocal(routes, address));
  const { flows, tracksOn } = await readFlows(netfilter);
  const guardedEnd = ({ destination, answers }: Flow) => (targets.beforeDnat ? destination : answers.source);
  const portOf = (flow: Flow) => `${guardedEnd(flow).port}/${flow.protocol}`;
  // what comes from this host comes by the loopback interface, where nothing is guarded
  const isMeant = async (family: Family, address: Buffer, port: string) =>
    targets.ports.has(port) && targets.isMeant(family, address) && !(await isOurs(address));

  const flowOf = new Map(flows.map(flow => [answersId(flow), flow]));
  const done = new Set<Flow>();
  let sockets = 0;
  const left: NetlinkError[] = [];
  for (const socket of await connectedSockets(diagnostics)) {
    const flow = flowOf.get(socketId(socket));
    const port = flow ? portOf(flow) : `${socket.port}/${socket.protocol}`;
    if (!(await isMeant(familyOf(socket.peer), flow?.source.address ?? socket.peer, port))) continue;
    if (flow) done.add(flow);
    const end = await endBy(diagnostics, destroySocket(socket));
    if (end === 'ended') sockets++;
    else if (end !== 'gone') left.push(end);
  }

  const untracked: Untracked[] = [];
  for (const flow of flows) {
    const { family, protocol, source, answers } = flow;
    if (!(await isMeant(family, source.address, portOf(flow)))) continue;
    if (!(await isOurs(guardedEnd(flow).address))) continue; // only routed through here, and never guarded
    const forwarded = !(await isOurs(answers.source.address));
    const end = await (forwarded && !flow.ended
      ? detour(netfilter, flow)
      : endBy(netfilter, deleteFlow(flow)));
    if (typeof end === 'object') left.push(end);
    if (end !== 'ended' || flow.ended || done.has(flow)) continue;
    if (!forwarded && protocol === 'tcp') continue; // its socket is gone already
    untracked.push({
      client: addressText(family, source.address),
      port: portOf(flow),
      to: forwarded ? addressText(family, answers.source.address) : null,
    });
  }
  return { sockets, left, untracked, tracksOn };
}

/** Why the kernel did not end a connection, and what to do. */
export function whyNotCut({ code, message }: NetlinkError): string {
  // Node's name for EOPNOTSUPP
  if (code === 'ENOTSUP')
    return 'this kernel cannot end connections of programs (it lacks CONFIG_INET_DIAG_DESTROY); "ss -tnp" shows the programs to stop';
  if (code === 'EBUSY') return 'a flowtable leads their packets past all rules; remove it and revoke again';
  return `the kernel refuses ${message}; revoke again`;
}

/** The same from both sides: from a socket, and from the answers of a flow, which are the socket's. */
function socketId({ protocol, address, port, peer, peerPort }: InetSocket): string {
  return endsId(protocol, address, port, peer, peerPort);
}

function answersId({ protocol, answers: { source, destination } }: Flow): string {
  return endsId(protocol, source.address, source.port, destination.address, destination.port);
}

function endsId(protocol: Protocol, ours: Buffer, port: number, peer: Buffer, peerPort: number): string {
  return `${protocol} ${ours.toString('hex')} ${port} ${peer.toString('hex')} ${peerPort}`;
}

/** All that have a peer. */
async function connectedSockets(diagnostics: Connection): Promise<InetSocket[]> {
  const tcp = await readSockets(diagnostics, 'tcp', WITH_PEER);
  const udp = await readSockets(diagnostics, 'udp', 1 << TCP_STATE.ESTABLISHED).catch(error => {
    if (error instanceof NetlinkError && error.code === 'ENOENT') return []; // a kernel built without it
    throw error;
  });
  return [...tcp, ...udp];
}

function familyOf(address: Buffer): Family {
  return address.length === 4 ? 'ipv4' : 'ipv6';
}

async function readFlows(netfilter: Connection) {
  const flows: Flow[] = [];
  try {
    for (const family of FAMILIES)
      for (const { payload } of await netfilter.dump(listFlows(family))) {
        const flow = decodeFlow(payload);
        if (flow) flows.push(flow);
      }
    return { flows, tracksOn: false };
  } catch (error) {
    if (!(error instanceof NetlinkError) || error.code === 'EPERM') throw error;
    return { flows: [], tracksOn: isTracking() }; // no module nf_conntrack_netlink
  }
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

/** Whether any connection is tracked. */
function isTracking(): boolean {
  try {
    return Number(readFileSync('/proc/sys/net/netfilter/nf_conntrack_count', 'utf8')) > 0;
  } catch {
    return false;
  }
}

/** Asks once for each address. */
function remembering<T>(ask: (address: Buffer) => Promise<T>): (address: Buffer) => Promise<T> {
  const answers = new Map<string, Promise<T>>();
  return address => {
    const key = address.toString('hex');
    const answer = answers.get(key) ?? ask(address);
    answers.set(key, answer);
    return answer;
  };
}
