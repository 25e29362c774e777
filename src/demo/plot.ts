/** The part of a configuration that the demo shows, and the demo's edits. */

import { applyEdits, type JSONPath, modify } from 'jsonc-parser';
import type { Config, Service, TokenSettings } from '../config/types.ts';
import { formatDuration } from '../inet/duration.ts';
import { formatPort, type Port } from '../inet/port.ts';

export interface Plot {
  readonly service: Service;
  /** The guarded TCP port that the client visits. */
  readonly port: number;
  readonly knocks: readonly Port[];
  /** The same knocks in an order that opens nothing; undefined if the sequence has no such order. */
  readonly wrong: readonly Port[] | undefined;
  /** The port for tokens, and the realm that they are made with. */
  readonly token: Pick<TokenSettings, 'port' | 'realm'>;
  readonly added: AddedService;
  /** Whether unguarded ports are open. */
  readonly othersOpen: boolean;
}

/** A second service, which comes into the file while the supervisor watches it. */
interface AddedService {
  readonly name: string;
  readonly port: number;
  readonly knocks: readonly Port[];
}

/** The longest opening that the demo waits for, in milliseconds. */
const LONGEST = 60_000;
/** The longer opening that an edit makes. */
export const LONGER = '5m';

/** The first service with a TCP port, or in words why there is none to show. */
export function plotOf(config: Config): Plot | string {
  for (const service of config.services) {
    const port = service.ports.find(({ protocol }) => protocol === 'tcp')?.first;
    const knocks = service.sequences[0]?.knocks;
    if (port === undefined || !knocks) continue;
    if (service.openFor > LONGEST)
      return `"openFor" of ${service.name} is ${formatDuration(service.openFor)}, and the demo waits for its end: at most ${formatDuration(LONGEST)}`;
    const added = unusedService(config);
    if (!added) return 'it names so many ports that none are left for a second service';
    const othersOpen = config.policy === 'accept';
    return {
      service,
      port,
      knocks,
      wrong: wrongOrder(service, knocks),
      token: config.token,
      added,
      othersOpen,
    };
  }
  return 'there is no service with a TCP port';
}

/** The knocks backwards, or without the last one: the first of these that contains none of the service's sequences. */
function wrongOrder({ sequences }: Service, knocks: readonly Port[]): readonly Port[] | undefined {
  const opens = (tried: readonly Port[]) => sequences.some(sequence => holds(tried, sequence.knocks));
  return [knocks.toReversed(), knocks.slice(0, -1)].find(tried => tried.length > 0 && !opens(tried));
}

/** Whether `knocks` contain `wanted` in order, perhaps with others in between, which may be repeats. */
function holds(knocks: readonly Port[], wanted: readonly Port[]): boolean {
  const left = wanted.map(formatPort);
  for (const knock of knocks) if (left[0] === formatPort(knock)) left.shift();
  return left.length === 0;
}

/** A service whose name and ports the configuration does not have. */
function unusedService(config: Config): AddedService | undefined {
  const [port, ...knocks] = unusedPorts(config, [8080, 7001, 9003, 8002]);
  if (port === undefined || knocks.length < 3) return undefined;
  const taken = new Set(config.services.map(({ name }) => name));
  let name = 'web';
  for (let number = 2; taken.has(name); number++) name = `web${number}`;
  return { name, port, knocks: knocks.map(port => ({ protocol: 'tcp', port })) };
}

/** For each port of `from`, the next TCP port that the configuration does not name. */
function unusedPorts({ services, public: open }: Config, from: readonly number[]): number[] {
  const named = new Set(
    services.flatMap(({ sequences }) => sequences.flatMap(({ knocks }) => knocks)).map(formatPort),
  );
  const ranges = [...services.flatMap(({ ports }) => ports), ...open].filter(
    ({ protocol }) => protocol === 'tcp',
  );
  const found: number[] = [];
  for (const first of from)
    for (let port = first; port <= 65535; port++) {
      const used = ranges.some(range => range.first <= port && port <= range.last);
      if (used || found.includes(port) || named.has(formatPort({ protocol: 'tcp', port }))) continue;
      found.push(port);
      break;
    }
  return found;
}

/** The file with a longer opening, so that the demo need not hurry. It is not for single use, or one visit would end it. */
export function withLongerOpening(text: string, { name, singleUse }: Service): string {
  const longer = edited(text, ['services', name, 'openFor'], LONGER);
  return singleUse ? edited(longer, ['services', name, 'singleUse'], false) : longer;
}

/** The file with a user who has tokens. Each opens for one connection. */
export function withToken(text: string, { name }: Service, user: string, secret: Buffer): string {
  const tokens = edited(text, ['services', name, 'tokens', user], secret.toString('hex'));
  return edited(tokens, ['services', name, 'singleUse'], true);
}

/** The file with one more service. */
export function withService(text: string, { name, port, knocks }: AddedService, { closed }: Service): string {
  const service = { ports: [port], sequence: knocks.map(({ port }) => port), closed };
  return edited(text, ['services', name], service);
}

/** Edits as a person with an editor would: the rest stays, comments too. */
function edited(text: string, path: JSONPath, value: unknown): string {
  return applyEdits(
    text,
    modify(text, path, value, { formattingOptions: { insertSpaces: true, tabSize: 2 } }),
  );
}
