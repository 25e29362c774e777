import type { Config } from '../config/types.ts';
import { type Looked, lookHere, troublesOf } from '../host/interfaces.ts';
import { formatNetwork } from '../inet/network.ts';
import { formatPortRange, mergePortRanges, overlap, type PortRange } from '../inet/port.ts';
import { type Found, findServices, isForwarded } from '../init/found.ts';
import { readHost } from '../init/host.ts';

/** The effects of a configuration on this host, as far as any user may look. */
export interface Meaning {
  /** Programs that listen here for others, and that `"policy": "drop"` would close to them: `nginx 8080/tcp`. */
  readonly cuts: readonly string[];
  /** Programs that have guarded ports forwarded to containers, past `"hook": "input"`: `docker-proxy 8080/tcp`. */
  readonly forwarded: readonly string[];
  /** Names in `interfaces` that no interface has. */
  readonly absent: readonly string[];
  /** Interfaces, except for the loopback, whose packets we would not look at. */
  readonly unguarded: readonly string[];
  /** Faults of `hook` and `interfaces`, as sentences. */
  readonly troubles: readonly string[];
}

/** If the file names no interfaces, or if we cannot look, we say nothing. */
const NOTHING: Looked = { at: [], past: [], astray: [] };

/** Reads only, and needs no privileges. */
export async function meaningHere(config: Config, env: NodeJS.ProcessEnv): Promise<Meaning> {
  const names = config.interfaces.length > 0;
  const looked = names ? await lookHere(config).catch(() => NOTHING) : NOTHING;
  const absent = looked.astray.filter(({ is }) => is === 'absent').map(({ pattern }) => pattern);
  const found = await readHost(env).then(findServices, () => []);
  const forwarded = config.hook === 'input' ? forwardedPast(config, found) : [];
  return {
    cuts: config.policy === 'drop' ? cutListeners(config, found) : [],
    forwarded,
    absent,
    unguarded: looked.past,
    troubles: [
      ...forwarded.map(
        it =>
          `"hook": "input" does not see packets that are forwarded to containers, as those to ${it} mostly are: "hook": "prerouting" does`,
      ),
      ...troublesOf(looked),
    ],
  };
}

/** One line for each key that does more than its default. */
export function meaningLines(config: Config, { cuts, unguarded }: Meaning): string[] {
  const { policy, hook, interfaces } = config;
  const drops = policy === 'drop';
  const open = config.public.map(formatPortRange).join(', ');
  const allowed = config.allow.map(formatNetwork).join(', ');
  return [
    ...(drops
      ? [
          'policy: drops everything that the file does not name, except answers, pings and what IP itself needs',
        ]
      : []),
    ...(cuts.length > 0
      ? [`policy: this closes listeners that "public" does not name: ${cuts.join(', ')}`]
      : []),
    ...(open ? [`public: open to every client: ${open}`] : []),
    ...(allowed
      ? [`allow: ${allowed} ${drops ? 'reach every port' : 'reach the guarded ports'} without a knock`]
      : []),
    ...(interfaces.length > 0
      ? [`interfaces: guards only packets that come in by ${interfaces.join(', ')}`]
      : []),
    ...(unguarded.length > 0
      ? [`interfaces: does NOT guard packets that come in by ${unguarded.join(', ')}`]
      : []),
    ...(hook === 'prerouting'
      ? ['hook: forwarded ports are guarded, too, by the number that clients see']
      : []),
  ];
}

/** Answers of DHCP and DHCPv6 come in nevertheless. */
const KEPT: readonly PortRange[] = [68, 546].map(port => ({ protocol: 'udp', first: port, last: port }));

function cutListeners(config: Config, found: readonly Found[]): string[] {
  const named = [...config.public, ...guarded(config), ...KEPT];
  return texts(found, port => !named.some(it => overlap(it, port)));
}

function forwardedPast(config: Config, found: readonly Found[]): string[] {
  const ports = guarded(config);
  return texts(found.filter(isForwarded), port => ports.some(it => overlap(it, port)));
}

const guarded = ({ services }: Config) => services.flatMap(({ ports }) => ports);

/** The ports that matter, with their programs: `nginx 8080/tcp`. */
function texts(found: readonly Found[], matters: (port: PortRange) => boolean): string[] {
  return found.flatMap(({ name, program, ports }) =>
    mergePortRanges(ports.flatMap(eachPort).filter(matters)).map(
      range => `${program ?? name} ${formatPortRange(range)}`,
    ),
  );
}

function eachPort({ protocol, first, last }: PortRange): PortRange[] {
  return Array.from({ length: last - first + 1 }, (_, index) => ({
    protocol,
    first: first + index,
    last: first + index,
  }));
}
