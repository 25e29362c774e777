/** The server that the attacks are tried on, and an independent witness of what passes its guards. */
import ipaddr from 'ipaddr.js';
import type { Test } from 'tap';
import type { Status } from '../../src/ruleset/status.ts';
import type { Listener } from '../kernel/host.ts';
import { families, patient } from '../kernel/loaded.ts';
import type { Captured } from '../kernel/packet.ts';
import { SECRETS, type TokenWorld, tokenWorld } from '../kernel/token-world.ts';
import { missing, type WorldOptions } from '../kernel/world.ts';
import { type Mac, macOf } from './frames.ts';

export const needs = { skip: missing('namespaces', 'nft', 'knockd') };

/** Ports of the target, by protocol. Nothing listens on the ports of knocks and tokens, nor beside them. */
export const PORTS = {
  tcp: { open: 80, drop: 22, reject: 8080, knock: 10000, later: 2345, neighbour: 9999 },
  udp: { open: 5353, drop: 53, reject: 54, knock: 7001, later: 7003, token: 62201, neighbour: 62202 },
} as const;

/** Each first knock is of both protocols, so that each shape of either can be one. */
const services = {
  ssh: { ports: [22, '53/udp'], sequence: [10000, 2345, 3456, 1234], ...patient },
  web: {
    ports: [8080, '54/udp'],
    sequence: ['7001/udp', '7003/udp', '7002/udp', '7004/udp', '7006/udp'],
    closed: 'reject',
    ...patient,
  },
  vpn: { ports: [2022], tokens: SECRETS, ...patient },
};
/** How to open each, for `Host.knock`. */
export const SEQUENCES = {
  ssh: ['10000/tcp', '2345/tcp', '3456/tcp', '1234/tcp'],
  web: ['7001/udp', '7003/udp', '7002/udp', '7004/udp', '7006/udp'],
} as const;

/** Addresses behind the client, from which the open port is asked after the others. */
const MARKER = { ipv4: '198.19.255.1', ipv6: '2001:db8:ffff::1' } as const;

/**
 * Sends frames from the client. Returns what came back until the open port had answered. If it does not in time, sends all
 * once more, and waits for longer.
 */
export async function heard(
  target: Target,
  frames: readonly Uint8Array[],
  milliseconds = 150,
): Promise<readonly Captured[]> {
  const client = target.host('client');
  const captured = await client.capture();
  await client.frames(frames);
  for (const family of families)
    await client.send([
      { protocol: 'tcp', to: target.server[family], from: MARKER[family], port: PORTS.tcp.open },
    ]);
  const seen = await captured.end(milliseconds);
  if (families.every(family => seen.some(({ to }) => to === MARKER[family]))) return seen;
  if (milliseconds > 10_000) throw new Error('the open port does not answer');
  return heard(target, frames, 2 * milliseconds);
}

/** The configurations that the target loads: a gate, a small firewall, and guards before DNAT. */
export const CONFIGS = {
  'policy accept': {},
  'policy drop': { policy: 'drop', public: [80, '5353/udp'] },
  'hook prerouting': { hook: 'prerouting' },
} as const;

/** Counts what comes to this host before any rule of ours, and what is let in after all of them, by source and port. */
const WITNESS = `table inet witness {
${families
  .map(family => {
    const type = `${family}_addr`;
    return `set came_${family} { type ${type}; size 65535; flags dynamic; }
set passed_${family} { type ${type} . inet_proto . inet_service; size 65535; flags dynamic; }`;
  })
  .join('\n')}
chain early {
  type filter hook prerouting priority -450;
  iif lo accept
  add @came_ipv4 { ip saddr }
  add @came_ipv6 { ip6 saddr }
}
chain input {
  type filter hook input priority 10;
  add @passed_ipv4 { ip saddr . meta l4proto . th dport }
  add @passed_ipv6 { ip6 saddr . meta l4proto . th dport }
}
}`;

export interface Target extends TokenWorld {
  /** Loads a configuration, as one of {@link CONFIGS}, and forgets everything that was. */
  reload(config?: object): Promise<void>;
  /** The sources of what came, and `source protocol port` of what passed. */
  witnessed(): Promise<{ readonly came: ReadonlySet<string>; readonly passed: ReadonlySet<string> }>;
  state(): Promise<Status>;
  /** All clients that are in, of any service. */
  inside(): Promise<readonly string[]>;
  /** How much arrived at the guarded listeners. */
  arrived(): Promise<number>;
  /** How many connections arrived at the open TCP port. */
  served(): Promise<number>;
  readonly macs: { readonly client: Mac; readonly server: Mac };
}

export async function createTarget(t: Pick<Test, 'teardown'>, options: WorldOptions = {}): Promise<Target> {
  const world = await tokenWorld(t, options);
  const shell = async (host: string, script: string) => {
    const { status, stdout, stderr } = await world.run(host, 'sh', ['-c', script]);
    if (status !== 0) throw new Error(`${script}: ${stderr}`);
    return stdout.trim();
  };
  // each port answers as often as it is asked
  await shell('server', 'echo 0 >/proc/sys/net/ipv4/icmp_ratemask');
  // Fast Open for each listener, with and without a cookie: data in a SYN is a connection, see <net/tcp.h>
  await shell('server', `echo ${0x1 | 0x2 | 0x200 | 0x400} >/proc/sys/net/ipv4/tcp_fastopen`);
  const mac = async (host: string) => macOf(await shell(host, 'cat /sys/class/net/eth0/address'));
  const macs = { client: await mac('client'), server: await mac('server') };
  const server = world.host('server');
  const [served, guarded]: [Listener[], Listener[]] = [[], []];
  const total = async (listeners: readonly Listener[]) =>
    (await Promise.all(listeners.map(listener => listener.arrived()))).reduce((sum, count) => sum + count, 0);
  for (const protocol of ['tcp', 'udp'] as const) {
    const { open, drop, reject } = PORTS[protocol];
    const listener = await server.listen(open, { protocol });
    if (protocol === 'tcp') served.push(listener);
    for (const port of [drop, reject]) guarded.push(await server.listen(port, { protocol }));
  }
  guarded.push(await server.listen(2022));
  for (const family of families) await world.host('client').connect(world.server[family], 80); // they know each other now

  const members = async (set: string): Promise<readonly (readonly string[])[]> => {
    const { stdout } = await world.run('server', 'nft', ['-nj', 'list', 'set', 'inet', 'witness', set]);
    const { nftables } = JSON.parse(stdout);
    const elements: readonly unknown[] = nftables[1].set.elem ?? [];
    return elements.map(element => {
      const { val = element } = (element as { elem?: { val: unknown } }).elem ?? {};
      return typeof val === 'string' ? [val] : (val as { concat: readonly unknown[] }).concat.map(String);
    });
  };
  const target: Target = Object.assign(world, {
    macs,
    async reload(config: object = CONFIGS['policy accept']) {
      await world.run('server', 'nft', ['flush', 'ruleset']);
      await world.run('server', 'conntrack', ['-F']);
      await world.loadFresh({ services, token: { hours: 1 }, ...config });
      await world.nft(WITNESS.replaceAll('; }', '\n }'));
    },
    async witnessed() {
      const of = async (kind: string) =>
        (await Promise.all(families.map(family => members(`${kind}_${family}`)))).flat();
      const join = (all: readonly (readonly string[])[]) =>
        new Set(all.map(([from = '', ...rest]) => [ipaddr.parse(from).toString(), ...rest].join(' ')));
      return { came: join(await of('came')), passed: join(await of('passed')) };
    },
    async state() {
      const { stdout, stderr } = await world.knockd(['status', '--json'], { env: world.env });
      if (!stdout) throw new Error(stderr);
      return JSON.parse(stdout) as Status;
    },
    async inside() {
      const { services } = await target.state();
      return Object.entries(services)
        .flatMap(([name, { clients }]) => clients.map(({ address }) => `${name} ${address}`))
        .sort();
    },
    arrived: () => total(guarded),
    served: () => total(served),
  });
  return target;
}
