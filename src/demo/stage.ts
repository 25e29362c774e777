/**
 * The stage of the demo: a network namespace for the server, in which its narrator runs, and one for the client. A process
 * holds each, and takes it along when it ends. They have no names, so /run/netns shows nothing of them.
 */
import { spawn, spawnSync } from 'node:child_process';
import { existsSync, readFileSync, readlinkSync } from 'node:fs';
import { constants } from 'node:os';
import { createInterface } from 'node:readline';
import { type Client, clientIn, configure } from './client.ts';

/** The environment variable that says which part of the demo a process plays. */
export const PART = 'KNOCKD_NFT_DEMO';
/** Ordinary users do not have `ip`'s sbin on their PATH. */
const env = { ...process.env, PATH: `${process.env.PATH ?? ''}:/usr/sbin:/sbin:/usr/bin:/bin` };

/** The demo cannot be shown here. */
export class NoStageError extends Error {
  override readonly name = 'NoStageError';
  /** Whether a permission is missing, and not a program. */
  readonly permission: boolean;

  constructor(message: string, permission: boolean) {
    super(message);
    this.permission = permission;
  }
}

/** What the narrator hears from the process that started it, as the first line on its stdin. */
interface Script {
  /** The network namespace that the demo must leave alone. */
  readonly outside: string;
  /** Name and text of the configuration. */
  readonly name: string;
  readonly text: string;
}

/** The name of this process's network namespace: `net:[4026531840]`. */
export function networkNamespace(): string {
  return readlinkSync('/proc/self/ns/net');
}

/**
 * Runs this program again as the narrator, in namespaces of its own, and returns its exit status. The narrator ends when its
 * stdin ends, and so with this process, however that ends. Throws {@link NoStageError}.
 */
export async function openStage(script: Script, json: boolean): Promise<number> {
  const [command, ...args] = [...entrance(), ...thisProgram(), ...(json ? ['--json'] : [])];
  const child = spawn(command, args, {
    env: { ...env, [PART]: 'server' },
    stdio: ['pipe', 'inherit', 'inherit'],
  });
  child.stdin?.on('error', () => {}); // its end is reported below
  child.stdin?.write(`${JSON.stringify(script)}\n`);
  return new Promise((resolve, reject) => {
    child.once('error', reject);
    child.once('close', (status, signal) =>
      resolve(status ?? 128 + (signal ? constants.signals[signal] : 0)),
    );
  });
}

function thisProgram(): string[] {
  return [process.execPath, process.argv[1] ?? '', 'demo'];
}

/** The command that leads into the namespaces. Root keeps its user namespace if possible, so that files stay readable. */
function entrance(): [string, ...string[]] {
  for (const [program, contains] of PROGRAMS)
    if (spawnSync(program, ['-V'], { env }).error)
      throw new NoStageError(`${program} is not installed (${contains})`, false);
  const ways = process.getuid?.() === 0 ? ['-n', '-rn'] : ['-rn'];
  let refusal = '';
  for (const way of ways) {
    const probe = 'ip link set lo up && exec unshare -n true';
    const { status, stderr } = spawnSync('unshare', [way, 'sh', '-c', probe], { env, encoding: 'utf8' });
    if (status === 0) return ['unshare', way];
    refusal = stderr.trim().split('\n').at(-1) ?? '';
  }
  throw new NoStageError(
    `not permitted: ${who()} may not make network namespaces here (${refusal})\n${advice()}`,
    true,
  );
}

const PROGRAMS = [
  ['unshare', 'Debian, Ubuntu, Fedora: package util-linux'],
  ['setpriv', 'Debian, Ubuntu, Fedora: package util-linux'],
  ['ip', 'Debian, Ubuntu: package iproute2; Fedora: iproute'],
] as const;

/** Settings that refuse namespaces, each with the value that does so and the one that does not. */
const SETTINGS = [
  ['kernel.unprivileged_userns_clone', '0', '1'],
  ['kernel.apparmor_restrict_unprivileged_userns', '1', '0'],
  ['user.max_user_namespaces', '0', '10000'],
  ['user.max_net_namespaces', '0', '10000'],
] as const;

function who(): string {
  const user = process.getuid?.();
  return user === 0 ? 'root' : `user ${user}`;
}

function advice(): string {
  const refusing = SETTINGS.filter(([name, value]) => setting(name) === value);
  if (refusing.length === 0)
    return 'No setting forbids it, so it is likely a container: its seccomp profile refuses unshare(2). With Docker: --cap-add SYS_ADMIN --security-opt seccomp=unconfined --security-opt apparmor=unconfined';
  return refusing
    .map(
      ([name, value, better]) => `${name} = ${value} forbids it; "sudo sysctl ${name}=${better}" allows it`,
    )
    .join('\n');
}

function setting(name: string): string | undefined {
  const path = `/proc/sys/${name.replaceAll('.', '/')}`;
  return existsSync(path) ? readFileSync(path, 'utf8').trim() : undefined;
}

export interface Addresses {
  readonly server: string;
  readonly client: string;
}

/** The wire between the two hosts, with addresses from the ranges for documentation (RFC 5737, RFC 3849). */
const WIRE = {
  ipv4: { server: '192.0.2.1', client: '192.0.2.7', length: 24, options: '' },
  ipv6: { server: '2001:db8::1', client: '2001:db8::7', length: 64, options: ' nodad' },
} as const;

/** The two hosts, once there is a wire between them. */
export interface Stage {
  readonly client: Client;
  /** One for each family that this kernel has, IPv4 first. */
  readonly families: readonly [Addresses, ...Addresses[]];
}

/** Starts the client in its own namespace, and lays the wire. Call this in the server's namespace. */
export async function layWire(): Promise<Stage> {
  const [program = '', ...args] = thisProgram();
  const child = spawn('unshare', ['-n', program, ...args], { env: { ...env, [PART]: 'client' } });
  const client = clientIn(child);
  const families = existsSync('/proc/net/if_inet6')
    ? ([WIRE.ipv4, WIRE.ipv6] as const)
    : ([WIRE.ipv4] as const);
  const batch = (host: keyof Addresses) =>
    [
      'link set lo up',
      'link set eth0 up',
      ...families.map(wire => `addr add ${wire[host]}/${wire.length} dev eth0${wire.options}`),
    ].join('\n');
  await client.ask('configure', { batch: 'link set lo up' }); // its namespace is there
  configure(`link add eth0 type veth peer name eth0 netns ${child.pid}\n${batch('server')}`);
  await client.ask('configure', { batch: batch('client') });
  return { client, families };
}

/** The script from stdin. After it, the end of stdin ends this process. */
export async function readScript(): Promise<Script> {
  const lines = createInterface({ input: process.stdin });
  const line = await new Promise<string>(resolve => {
    lines.once('line', resolve).once('close', () => process.exit(1));
  });
  process.stdin.unref(); // or the process would wait for it
  const script = JSON.parse(line) as Script;
  if (script.outside === networkNamespace()) throw new Error('this process has no namespace of its own');
  return script;
}
