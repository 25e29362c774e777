/**
 * A small network of real hosts for the tests: a server, its clients, and the wire between them. Each host is a network
 * namespace under one holder process. The holder has a mount namespace of its own (so the machine's /run/netns stays clean)
 * and, for an ordinary user, a user namespace. It ends with its stdin, that is with the test, however that ends. The
 * namespaces end with the holder.
 */
import { spawn, spawnSync } from 'node:child_process';
import {
  chmodSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import type { Test } from 'tap';
import { tryNamespaces } from '../../src/demo/namespaces.ts';
import { type Host, hostFor } from './host.ts';
import type { Protocol } from './packet.ts';
import { environment, type Result, type Running, run, start } from './process.ts';

export interface WorldOptions {
  /** `['client']` by default: 10.77.0.2 and fd77::2, and so on. */
  readonly clients?: readonly string[];
  /** Whether the server forwards to a host behind it, `container`, at 10.78.0.2 and fd78::2. */
  readonly container?: boolean;
}

export interface Addresses {
  readonly ipv4: string;
  readonly ipv6: string;
}

export interface RunOptions {
  readonly input?: string;
  readonly env?: Readonly<Record<string, string>>;
  /** In milliseconds; `HUNG` of process.ts by default. */
  readonly timeout?: number;
}

export interface KnockdOptions extends RunOptions {
  /** `server` by default. */
  readonly host?: string;
  /** Another file than that of `write`; false for no `--config` at all. */
  readonly config?: string | false;
}

export interface World {
  readonly server: Addresses;
  readonly client: Addresses;
  addresses(host: string): Addresses;
  /** The agent in that host. The first call starts it. */
  host(name: string): Host;
  run(host: string, command: string, args: readonly string[], options?: RunOptions): Promise<Result>;
  /** Like `run`, but the program stays. It is killed at the end of the test if it still runs. */
  start(
    host: string,
    command: string,
    args: readonly string[],
    env?: Readonly<Record<string, string>>,
  ): Running;
  /** Loads a script with `nft -f -` on the server. Rejects with nft's words. */
  nft(script: string): Promise<void>;
  /** `nft list ruleset` on the server. */
  list(): Promise<string>;
  /** The path that `write` writes to. The folder belongs to this world. */
  readonly configFile: string;
  /** Writes the configuration file, mode 0640, and returns its path. */
  write(config: object | string): string;
  /** Runs the program on the server. */
  knockd(args: readonly string[], options?: KnockdOptions): Promise<Result>;
  /** The same for commands that stay: `run` and `watch`. */
  startKnockd(args: readonly string[], env?: Readonly<Record<string, string>>): Running;
  /** Gives a host one more address on eth0, such as `10.77.0.50/24`. */
  addAddress(host: string, address: string): Promise<void>;
  /** DNAT on the server, as Docker publishes: from its `port` to the container's, in both families. */
  publish(port: number, containerPort: number, protocol?: Protocol): Promise<void>;
}

/** Root keeps the machine's user namespace, in which its CAP_NET_ADMIN is the real one (SO_SNDBUFFORCE). */
const ways = process.getuid?.() === 0 ? ['-nm', '-rnm'] : ['-rnm'];
const probeScript =
  'mount -t tmpfs tmpfs /run && ip netns add probe && ip netns exec probe ip link set lo up';
let known: ReturnType<typeof tryNamespaces> | undefined;

/** The flags of unshare that make namespaces here, or why there are none. */
function namespaces(): { readonly flags: string } | { readonly why: string } {
  known ??= tryNamespaces(['unshare', 'nsenter', 'setpriv', 'ip'], ways, probeScript);
  if (known.is === 'possible') return known;
  const advice = known.is === 'refused' ? `: ${known.advice.replaceAll('\n', '; ')}` : '';
  return { why: `no network namespaces: ${known.why}${advice}` };
}

/**
 * Whether a transaction may be larger than net.core.wmem_max. SO_SNDBUFFORCE works only with CAP_NET_ADMIN in the machine's
 * own user namespace. Without it a few hundred kB are the limit, which is about 100 services.
 */
export const sendsLarge =
  process.getuid?.() === 0 && readFileSync('/proc/self/uid_map', 'utf8').trim().endsWith('4294967295');

/** Whether the nft program is here. The product does not need it, comparisons do. */
export function hasNft(): boolean {
  return spawnSync('nft', ['--version'], { env: environment }).status === 0;
}

/** For a test's `skip`: what is missing of its needs, or false. */
export function missing(...needs: readonly ('namespaces' | 'nft' | 'knockd')[]): string | false {
  for (const need of needs) {
    const found = namespaces();
    if (need === 'namespaces' && 'why' in found) return found.why;
    if (need === 'nft' && !hasNft()) return 'nft is not installed';
    if (need === 'knockd' && !existsSync('dist/knockd-nft.cjs')) return 'dist/knockd-nft.cjs is not built';
  }
  return false;
}

const bothFamilies = (net: number, last: number): Addresses => ({
  ipv4: `10.${net}.0.${last}`,
  ipv6: `fd${net}::${last.toString(16)}`,
});

/**
 * The addresses are ready at once: no duplicate address detection, no router solicitation. ICMP errors are not rate-limited,
 * so that a test may ask as often as it likes.
 */
function hostScript(name: string, device: string, own: Addresses, gateway: Addresses | undefined): string {
  return `
ip -n ${name} -batch - <<END
link set lo up
link set ${device} addrgenmode none
link set ${device} up
addr add ${own.ipv4}/24 brd + dev ${device}
addr add ${own.ipv6}/64 dev ${device} nodad
addr add fe80::${own.ipv6.slice(2).replace('::', ':')}/64 dev ${device} nodad
${gateway ? `route add default via ${gateway.ipv4}\nroute add default via ${gateway.ipv6}` : ''}
END
ip netns exec ${name} sh -c '
for limit in ipv4/icmp_ratelimit ipv6/icmp/ratelimit; do echo 0 >/proc/sys/net/$limit; done' || : # not in containers
`;
}

function wireScript(host: string, index: number): string {
  return `ip -batch - <<END
netns add ${host}
link add wire${index} type veth peer name eth0 netns ${host}
link set wire${index} master wire up
END`;
}

/** The script for the holder's shell, with everything. The server routes unknown addresses to its first client. */
function worldScript(clients: readonly string[], container: boolean): string {
  const server = bothFamilies(77, 1);
  const behind = bothFamilies(78, 2);
  return `set -e
mount -t tmpfs -o mode=755 tmpfs /run
ip link add wire type bridge mcast_snooping 0
ip link set wire up
${['server', ...clients].map(wireScript).join('\n')}
${hostScript('server', 'eth0', server, bothFamilies(77, 2))}
${clients.map((name, index) => hostScript(name, 'eth0', bothFamilies(77, index + 2), server)).join('')}
${
  container
    ? `ip netns add container
ip -n server link add behind0 type veth peer name eth0 netns container
${hostScript('server', 'behind0', bothFamilies(78, 1), undefined)}
${hostScript('container', 'eth0', behind, bothFamilies(78, 1))}
ip netns exec server sh -c '
for switch in ipv4/ip_forward ipv6/conf/all/forwarding; do echo 1 >/proc/sys/net/$switch; done'`
    : ''
}
echo ready
`;
}

interface Holder {
  readonly pid: number;
  readonly end: () => Promise<void>;
}

/** A shell that makes the namespaces and then waits for the end of its stdin. */
async function hold(flags: string, script: string): Promise<Holder> {
  const child = spawn('unshare', [flags, 'sh'], { env: environment });
  let errors = '';
  child.stderr.setEncoding('utf8').on('data', text => {
    errors += text;
  });
  child.stdin.on('error', () => {});
  const ended = new Promise<void>(done => {
    child.once('close', () => done());
  });
  await new Promise<void>((ready, failed) => {
    createInterface({ input: child.stdout }).once('line', () => ready());
    child.once('error', failed);
    ended.then(() => failed(new Error(`the namespaces could not be made: ${errors}`)));
    child.stdin.write(script);
  });
  const end = () => {
    child.stdin.end();
    return ended;
  };
  return { pid: child.pid ?? 0, end };
}

/** Ends what still runs on the hosts of a world, such as the program that undoes a trial: it outlives its command. */
async function endAllIn(holder: number): Promise<void> {
  const folder = `/proc/${holder}/root/run/netns`;
  const hosts = new Set(readdirSync(folder).map(name => `net:[${statSync(join(folder, name)).ino}]`));
  const there = () =>
    readdirSync('/proc').filter(name => {
      try {
        return /^\d+$/.test(name) && hosts.has(readlinkSync(`/proc/${name}/ns/net`));
      } catch {
        return false; // it has ended, or is another user's
      }
    });
  for (let left = there(); left.length > 0; left = there()) {
    for (const pid of left) {
      try {
        process.kill(Number(pid), 'SIGKILL');
      } catch {} // it has ended
    }
    await new Promise(resolve => setTimeout(resolve, 10));
  }
}

/**
 * Makes the hosts. They end with the test. Ask `missing('namespaces')` first.
 *
 * @param t takes the teardown
 */
export async function createWorld(t: Pick<Test, 'teardown'>, options: WorldOptions = {}): Promise<World> {
  const { clients = ['client'], container = false } = options;
  const found = namespaces();
  if ('why' in found) throw new Error(found.why);
  const { flags } = found;
  const holder = await hold(flags, worldScript(clients, container));
  const folder = mkdtempSync(join(tmpdir(), 'knockd-nft-test-'));
  const configFile = join(folder, 'knockd-nft.json');
  const homes = mkdtempSync(join(tmpdir(), 'knockd-nft-homes-'));
  /** Folders of its own for each host, so that its logins wait only for each other. */
  function home(host: string): Readonly<Record<string, string>> {
    const path = join(homes, host);
    mkdirSync(path, { recursive: true });
    return { XDG_RUNTIME_DIR: path, XDG_STATE_HOME: path };
  }
  const addresses = new Map([
    ['server', bothFamilies(77, 1)],
    ...clients.map((name, index) => [name, bothFamilies(77, index + 2)] as const),
    ['container', bothFamilies(78, 2)],
  ]);
  const agents = new Map<string, Host>();
  const running = new Set<Running>();
  const knockdFile = resolve('compiled/knockd-nft.cjs'); // as packages and units start it

  /** nsenter, ip and the others each become the next program, so the process that we start is the program itself. */
  function inside(host: string, command: string, args: readonly string[]): readonly string[] {
    const target = [
      '-t',
      String(holder.pid),
      '-m',
      '-n',
      ...(flags === '-rnm' ? ['-U', '--preserve-credentials'] : []),
    ];
    const there = ['ip', 'netns', 'exec', host, 'setpriv', '--pdeathsig', 'KILL', 'env', '-C', process.cwd()];
    return ['nsenter', ...target, ...there, command, ...args];
  }

  function knockdArgs(args: readonly string[], config: string | false = configFile): readonly string[] {
    return [knockdFile, ...(config === false ? [] : ['--config', config]), ...args];
  }

  const world: World = {
    server: bothFamilies(77, 1),
    client: bothFamilies(77, 2),
    addresses(host) {
      const found = addresses.get(host);
      if (!found) throw new Error(`there is no host ${host}`);
      return found;
    },
    host(name) {
      let agent = agents.get(name);
      if (!agent) {
        const program = fileURLToPath(new URL('./agent.js', import.meta.url));
        const [nsenter = '', ...args] = inside(name, process.execPath, [program]);
        agent = hostFor(name, spawn(nsenter, args, { env: environment }));
        agents.set(name, agent);
      }
      return agent;
    },
    run: (host, command, args, runOptions) =>
      run(inside(host, command, args), { ...runOptions, env: { ...home(host), ...runOptions?.env } }),
    start(host, command, args, env) {
      const program = start(inside(host, command, args), { ...home(host), ...env });
      running.add(program);
      const forget = () => running.delete(program);
      program.ended.then(forget, forget);
      return program;
    },
    async nft(script) {
      const { status, stderr } = await world.run('server', 'nft', ['-f', '-'], { input: script });
      if (status !== 0) throw new Error(`nft: ${stderr}`);
    },
    async list() {
      const { status, stdout, stderr } = await world.run('server', 'nft', ['list', 'ruleset']);
      if (status !== 0) throw new Error(`nft: ${stderr}`);
      return stdout;
    },
    configFile,
    write(config) {
      writeFileSync(configFile, typeof config === 'string' ? config : `${JSON.stringify(config, null, 2)}\n`);
      chmodSync(configFile, 0o640);
      return configFile;
    },
    knockd: (args, { host = 'server', config, ...runOptions } = {}) =>
      world.run(host, process.execPath, knockdArgs(args, config), runOptions),
    startKnockd: (args, env) => world.start('server', process.execPath, knockdArgs(args), env),
    async addAddress(host, address) {
      const detection = address.includes(':') ? ['nodad'] : [];
      const { status, stderr } = await world.run(host, 'ip', [
        'addr',
        'add',
        address,
        'dev',
        'eth0',
        ...detection,
      ]);
      if (status !== 0) throw new Error(`ip addr add ${address}: ${stderr}`);
    },
    publish(port, containerPort, protocol = 'tcp') {
      const { ipv4, ipv6 } = bothFamilies(78, 2);
      return world.nft(`table inet published {
  chain prerouting {
    type nat hook prerouting priority dstnat
    fib daddr type local ${protocol} dport ${port} meta nfproto ipv4 dnat ip to ${ipv4}:${containerPort}
    fib daddr type local ${protocol} dport ${port} meta nfproto ipv6 dnat ip6 to [${ipv6}]:${containerPort}
  }
}`);
    },
  };

  t.teardown(async () => {
    await Promise.allSettled([...running].map(program => program.stop('SIGKILL')));
    await Promise.all([...agents.values()].map(agent => agent.end()));
    await endAllIn(holder.pid);
    await holder.end();
    for (const path of [folder, homes]) rmSync(path, { recursive: true, force: true });
  });
  return world;
}
