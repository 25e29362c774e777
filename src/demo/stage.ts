/**
 * The stage of the demo: a network namespace for the server, in which its narrator runs, and one for the client. A process
 * holds each, and takes it along when it ends. They have no names, so /run/netns shows nothing of them.
 */
import { spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { constants } from 'node:os';
import { createInterface } from 'node:readline';
import { ownNetwork } from '../host/network.ts';
import { type Callee, calleeIn } from './calls.ts';
import { type Calls, configure } from './client.ts';
import { environment, tryNamespaces } from './namespaces.ts';

/** The environment variable that says which part of the demo a process plays. */
export const PART = 'KNOCKD_NFT_DEMO';

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

/** The message to the narrator from the process that started it, as the first line on its stdin. */
interface Script {
  /** The network namespace that the demo must leave alone. */
  readonly outside: string;
  /** Name and text of the configuration. */
  readonly name: string;
  readonly text: string;
}

/**
 * Runs this program again as the narrator, in namespaces of its own, and returns its exit status. The narrator ends when its
 * stdin ends, and so with this process, however that ends. Throws {@link NoStageError}.
 */
export async function openStage(script: Script, json: boolean): Promise<number> {
  const [command, ...args] = [...entrance(), ...thisProgram(), ...(json ? ['--json'] : [])];
  const child = spawn(command, args, {
    env: { ...environment, [PART]: 'server' },
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
  const ways = process.getuid?.() === 0 ? ['-n', '-rn'] : ['-rn'];
  const found = tryNamespaces(
    ['unshare', 'setpriv', 'ip'],
    ways,
    'ip link set lo up && exec unshare -n true',
  );
  if (found.is === 'possible') return ['unshare', found.flags];
  if (found.is === 'absent') throw new NoStageError(found.why, false);
  throw new NoStageError(
    `not permitted: ${who()} may not make network namespaces here (${found.why})\n${found.advice}`,
    true,
  );
}

function who(): string {
  const user = process.getuid?.();
  return user === 0 ? 'root' : `user ${user}`;
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
  readonly client: Callee<Calls>;
  /** One for each family that this kernel has, IPv4 first. */
  readonly families: readonly [Addresses, ...Addresses[]];
}

/** Starts the client in its own namespace, and lays the wire. Call this in the server's namespace. */
export async function layWire(): Promise<Stage> {
  const [program = '', ...args] = thisProgram();
  const child = spawn('unshare', ['-n', program, ...args], { env: { ...environment, [PART]: 'client' } });
  const client = calleeIn<Calls>('client', child);
  const families = existsSync('/proc/net/if_inet6')
    ? ([WIRE.ipv4, WIRE.ipv6] as const)
    : ([WIRE.ipv4] as const);
  const batch = (host: keyof Addresses) =>
    [
      'link set lo up',
      'link set eth0 up',
      ...families.map(wire => `addr add ${wire[host]}/${wire.length} dev eth0${wire.options}`),
    ].join('\n');
  await client.call('configure', { batch: 'link set lo up' }); // its namespace is there
  configure(`link add eth0 type veth peer name eth0 netns ${child.pid}\n${batch('server')}`);
  await client.call('configure', { batch: batch('client') });
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
  if (script.outside === ownNetwork()) throw new Error('this process has no namespace of its own');
  return script;
}
