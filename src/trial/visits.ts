import type { Session } from '../host/sessions.ts';
import { masked } from '../inet/address.ts';
import { FAMILIES, type Family, familyOf } from '../inet/family.ts';
import { includes } from '../inet/port.ts';
import type { Connection } from '../netlink/connection.ts';
import { type Flow, listFlows, listFlowsFrom, readFlows } from '../netlink/conntrack.ts';
import { NetlinkError } from '../netlink/errors.ts';
import type { SetWithElements } from '../nftables/ruleset.ts';
import { names } from '../ruleset/names.ts';
import { isAllowed } from '../ruleset/program.ts';
import { readElements, readSets } from '../table/read.ts';
import type { Proof } from './proofs.ts';

/** The connections to the services of a trial, as connection tracking lists them. */

/** A key that tells connections apart, however a socket names the peer. */
export function sessionId({ peer, peerPort, port }: Omit<Session, 'family'>): string {
  return `${peer.toString('hex')} ${peerPort} ${port}`;
}

/** The same for tracked ones. */
export function flowId({ protocol, source, answers }: Flow): string {
  const id = sessionId({ peer: source.address, peerPort: source.port, port: answers.source.port });
  return `${protocol} ${id}`;
}

/** The port that the guards look at. */
export function portOf({ destination, answers }: Flow, beforeDnat: boolean): number {
  return (beforeDnat ? destination : answers.source).port;
}

export function isTo(flow: Flow, { ports }: Proof, beforeDnat: boolean): boolean {
  const port = portOf(flow, beforeDnat);
  return ports.some(range => includes(range, { protocol: flow.protocol, port }));
}

/** All of them; none on a kernel that cannot list them. Then no knock confirms, and a look that needs them fails. */
export async function listTracked(connection: Connection): Promise<Flow[]> {
  try {
    return await readFlows(connection, FAMILIES.map(listFlows));
  } catch (error) {
    if (error instanceof NetlinkError && error.code !== 'EPERM') return [];
    throw error;
  }
}

/** Finds the connections that may be there because of a knock during the trial. */
export class Visits {
  readonly #table: string;
  readonly #prefix: Readonly<Record<Family, number>>;
  readonly #beforeDnat: boolean;
  readonly #old: ReadonlySet<string>;
  /** The sources in `allow`, which need no knock. A trial does not change them. */
  #allowed: readonly SetWithElements[] | undefined;

  /** `flows` are those from before, by {@link flowId}. */
  constructor(start: {
    readonly table: string;
    readonly prefix: Readonly<Record<Family, number>>;
    readonly beforeDnat: boolean;
    readonly flows: ReadonlySet<string>;
  }) {
    this.#table = start.table;
    this.#prefix = start.prefix;
    this.#beforeDnat = start.beforeDnat;
    this.#old = start.flows;
  }

  /** Those to the service, or only those of the client of that key. TCP ones must be answered and established. */
  async to(connection: Connection, proof: Proof, key?: Buffer): Promise<Flow[]> {
    const whole = key && key.length * 8 === this.#prefix[familyOf(key)];
    const requests = whole ? [listFlowsFrom(key)] : (key ? [familyOf(key)] : FAMILIES).map(listFlows);
    this.#allowed ??= await readAllowed(connection, this.#table);
    const sets = this.#allowed;
    return (await readFlows(connection, requests)).filter(
      flow =>
        (flow.protocol === 'udp' || (flow.assured && flow.fromStart)) &&
        (!key || masked(flow.source.address, this.#prefix[flow.family]).equals(key)) &&
        isTo(flow, proof, this.#beforeDnat) &&
        !this.#old.has(flowId(flow)) &&
        !isAllowed({ sets }, flow.family, flow.source.address),
    );
  }
}

async function readAllowed(connection: Connection, table: string): Promise<SetWithElements[]> {
  const known = FAMILIES.map(names.allowed);
  const sets: SetWithElements[] = [];
  for (const set of await readSets(connection, table))
    if (known.includes(set.name)) sets.push({ ...set, elements: await readElements(connection, table, set) });
  return sets;
}
