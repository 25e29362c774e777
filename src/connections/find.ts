import { readFileSync } from 'node:fs';
import { WITH_PEER } from '../host/sessions.ts';
import { isLacking } from '../host/sockets.ts';
import { masked } from '../inet/address.ts';
import { FAMILIES, type Family, familyOf } from '../inet/family.ts';
import type { Protocol } from '../inet/protocol.ts';
import type { Connection } from '../netlink/connection.ts';
import { type Endpoint, type Flow, listFlows, readFlows } from '../netlink/conntrack.ts';
import { NetlinkError } from '../netlink/errors.ts';
import { type InetSocket, readSockets, TCP_STATE } from '../netlink/inet-diag.ts';
import { interfaceName, routeTo } from '../netlink/route.ts';
import { decompile, isAllowed, isLookedAt, portsOf } from '../ruleset/program.ts';
import { clientKeys, type Revoked } from '../table/openings.ts';

/** The connections that are meant. */
export interface Targets {
  /** Guarded ports, as `22/tcp`. */
  readonly ports: ReadonlySet<string>;
  /** Whether the guards look at the port that a packet was sent to, and not at the one after DNAT. */
  readonly beforeDnat: boolean;
  /** Whether connections of this address are meant. `way` is the interface that leads to it, if there is one. */
  readonly isMeant: (family: Family, address: Buffer, way: string | undefined) => boolean;
}

/**
 * The connections that a revocation cuts. "Everybody" means every client that is in or may have been, but not those
 * that need no opening: sources in `allow`, and clients that come in by an interface without guards.
 */
export function targetsOf({ ruleset, revocation: { services, whom }, openings }: Revoked): Targets {
  const program = decompile(ruleset);
  const { prefix } = program;
  const keys = new Map(FAMILIES.map(family => [family, clientKeys(whom, family, openings)]));
  const isIn = (family: Family, address: Buffer) =>
    keys.get(family)?.has(masked(address, prefix[family]).toString('hex')) ?? false;
  return {
    ports: portsOf(program, services),
    beforeDnat: program.hook === 'prerouting',
    isMeant: (family, address, way) =>
      whom.is === 'everybody'
        ? !isAllowed(ruleset, family, address) &&
          (way === undefined || isLookedAt(program, way) || isIn(family, address))
        : isIn(family, address),
  };
}

/** Connections to the parts of the kernel that we ask, by their netlink families. */
export interface Parts {
  readonly netfilter: Connection;
  readonly diagnostics: Connection;
  readonly routes: Connection;
}

/** A flow as the guards see it. */
export interface Visit {
  readonly flow: Flow;
  readonly client: Buffer;
  /** The endpoint that the client goes to. */
  readonly end: Endpoint;
  /** Whether it goes to another host. */
  readonly forwarded: boolean;
  /** Whether it belongs to one of the sockets. */
  readonly hasSocket: boolean;
}

export interface Found {
  readonly sockets: readonly InetSocket[];
  readonly visits: readonly Visit[];
  /** Whether the kernel tracks connections, and has no way to say which. */
  readonly tracksOn: boolean;
}

/** The connections of clients to guarded ports. A connection that this host opened itself is none, whatever its port. */
export async function findConnections(
  { netfilter, diagnostics, routes }: Parts,
  targets: Targets,
): Promise<Found> {
  const route = remembering(
    (address: Buffer) => routeTo(routes, address),
    address => address.toString('hex'),
  );
  const nameOf = remembering((index: number) => interfaceName(routes, index), String);
  // packets from this host come by the loopback interface, where no port is guarded
  const isMeant = async (protocol: Protocol, client: Buffer, port: number) => {
    if (!targets.ports.has(`${port}/${protocol}`)) return false;
    const { isLocal, output } = await route(client);
    if (isLocal) return false;
    return targets.isMeant(familyOf(client), client, output === undefined ? output : await nameOf(output));
  };
  const isOurs = async ({ address }: Endpoint) => (await route(address)).isLocal;

  const { flows, tracksOn } = await trackedFlows(netfilter);
  const incoming = new Map(
    flows.map(flow => [endsId(flow.protocol, flow.answers.source, flow.answers.destination), flow]),
  );
  const outgoing = new Map(flows.map(flow => [endsId(flow.protocol, flow.source, flow.destination), flow]));
  const endOf = ({ destination, answers }: Flow) => (targets.beforeDnat ? destination : answers.source);

  const sockets: InetSocket[] = [];
  const done = new Set<Flow>();
  for (const socket of await connectedSockets(diagnostics)) {
    const { protocol, address, port, peer, peerPort } = socket;
    const id = endsId(protocol, { address, port }, { address: peer, port: peerPort });
    const came = incoming.get(id);
    const went = outgoing.get(id);
    const meant = came
      ? await isMeant(protocol, came.source.address, endOf(came).port)
      : !went?.fromStart && (await isMeant(protocol, peer, port));
    if (!meant) continue;
    sockets.push(socket);
    for (const flow of [came, went]) if (flow) done.add(flow);
  }

  const visits: Visit[] = [];
  for (const flow of flows) {
    const { protocol, fromStart, source, destination, answers } = flow;
    const hasSocket = done.has(flow);
    const end = endOf(flow);
    if (await isMeant(protocol, source.address, end.port)) {
      if (!(await isOurs(end))) continue; // only routed through here, and never guarded
      const forwarded = !(await isOurs(answers.source));
      visits.push({ flow, client: source.address, end, forwarded, hasSocket });
    } else if (
      !fromStart &&
      (await isOurs(source)) &&
      (await isMeant(protocol, destination.address, source.port))
    )
      visits.push({ flow, client: destination.address, end: source, forwarded: false, hasSocket });
  }
  return { sockets, visits, tracksOn };
}

/** An identifier that is the same for a socket and for its flow, whichever end opened it. */
function endsId(protocol: Protocol, ours: Endpoint, peer: Endpoint): string {
  return `${protocol} ${ours.address.toString('hex')} ${ours.port} ${peer.address.toString('hex')} ${peer.port}`;
}

/** All sockets with a peer. */
async function connectedSockets(diagnostics: Connection): Promise<InetSocket[]> {
  const tcp = await readSockets(diagnostics, 'tcp', WITH_PEER);
  const udp = await readSockets(diagnostics, 'udp', 1 << TCP_STATE.ESTABLISHED).catch(error => {
    if (isLacking(error)) return []; // a kernel without UDP diagnostics
    throw error;
  });
  return [...tcp, ...udp];
}

async function trackedFlows(netfilter: Connection) {
  try {
    return { flows: await readFlows(netfilter, FAMILIES.map(listFlows)), tracksOn: false };
  } catch (error) {
    if (!(error instanceof NetlinkError) || error.code === 'EPERM') throw error;
    return { flows: [], tracksOn: isTracking() }; // no module nf_conntrack_netlink
  }
}

/** Whether any connection is tracked. */
function isTracking(): boolean {
  try {
    return Number(readFileSync('/proc/sys/net/netfilter/nf_conntrack_count', 'utf8')) > 0;
  } catch {
    return false;
  }
}

/** Asks once for each key. */
function remembering<K, T>(ask: (key: K) => Promise<T>, id: (key: K) => string): (key: K) => Promise<T> {
  const answers = new Map<string, Promise<T>>();
  return key => {
    const answer = answers.get(id(key)) ?? ask(key);
    answers.set(id(key), answer);
    return answer;
  };
}
