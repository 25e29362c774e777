import { toName } from '../config/names.ts';
import type { Listener } from '../host/listeners.ts';
import { formatAddress } from '../inet/address.ts';
import { mergePortRanges, type PortRange } from '../inet/port.ts';
import type { Host } from './host.ts';

/** Something on this host that others can reach, as a service of the configuration. */
export interface Found {
  readonly name: string;
  readonly ports: readonly PortRange[];
  /** The program that listens; null if this user may not know. */
  readonly program: string | null;
  /** The addresses that it listens on; empty for all. */
  readonly addresses: readonly string[];
}

/** Programs that are ssh by another name. */
const SSH = /^(sshd.*|dropbear)$/;

/** Programs that hold the ports of containers. Packets to those are forwarded, so only a hook before that sees them. */
const FORWARDERS: ReadonlySet<string | null> = new Set(['docker-proxy', 'conmon']);

export function isForwarded({ program }: Found): boolean {
  return FORWARDERS.has(program);
}

/**
 * The services that listen on this host for others: ssh first, then by port. A program is one service, even if it has
 * several ports.
 */
export function findServices(host: Host): readonly Found[] {
  const services = new Map<string, Found>();
  for (const listener of host.listeners.filter(it => !it.loopback && !isClient(it, host))) {
    const { protocol, port } = listener;
    const program = host.programs.get(listener.inode) ?? null;
    const name = nameOf(listener, program, host);
    const before = services.get(name) ?? { name, ports: [], program, addresses: [] };
    services.set(name, {
      ...before,
      ports: mergePortRanges([...before.ports, { protocol, first: port, last: port }]),
      addresses: [...new Set([...before.addresses, ...addressOf(listener)])],
    });
  }
  return [...services.values()].sort(
    (a, b) => Number(b.name === 'ssh') - Number(a.name === 'ssh') || firstPort(a) - firstPort(b),
  );
}

/** A UDP socket that waits for an answer looks like one that serves. The kernel's own sockets (WireGuard) have no file. */
function isClient({ protocol, port, inode }: Listener, { ephemeral }: Host): boolean {
  return protocol === 'udp' && inode !== 0 && port >= ephemeral.first && port <= ephemeral.last;
}

function nameOf({ protocol, port }: Listener, program: string | null, { login, wellKnown }: Host): string {
  if (protocol === 'tcp' && (port === login?.port || SSH.test(program ?? ''))) return 'ssh';
  const known = wellKnown.get(`${port}/${protocol}`) ?? '';
  const names = program === 'systemd' ? [known] : FORWARDERS.has(program) ? [] : [program ?? '', known];
  return names.map(toName).find(name => name !== '') ?? `${protocol}-${port}`;
}

function addressOf({ address }: Listener): readonly string[] {
  if (address.every(byte => byte === 0)) return [];
  return [formatAddress(address)];
}

function firstPort({ ports }: Found): number {
  return ports[0]?.first ?? 0;
}
