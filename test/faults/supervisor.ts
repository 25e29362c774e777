/** The supervisor, each of whose system calls fails once in turn while it follows its file and puts the table back. */
import { existsSync, mkdirSync } from 'node:fs';
import { dirname, join } from 'node:path';
import type { Test } from 'tap';
import type { Running } from '../kernel/process.ts';
import { createWorld, type World } from '../kernel/world.ts';
import { ssh, until } from '../supervisor/supervised.ts';
import { attach, callsDuring, type Fault, faultsOf, faultText, KILL, spread } from './strace.ts';

const guarding = (port: number) => ({ services: { ssh: { ...ssh, ports: [port] } } });
const isGuarded = (port: number) => (rules: string) => rules.includes(`tcp . ${port} : goto guard_ssh`);

interface Folders {
  readonly RUNTIME_DIRECTORY: string;
  readonly STATE_DIRECTORY: string;
}

function foldersOf(world: World): Folders & Readonly<Record<string, string>> {
  const folder = dirname(world.configFile);
  const folders = { RUNTIME_DIRECTORY: join(folder, 'run'), STATE_DIRECTORY: join(folder, 'state') };
  for (const path of Object.values(folders)) mkdirSync(path, { recursive: true });
  return folders;
}

/** By the end of the test. */
const KILLED = 137;
/** A stack is ours, unless modules are being loaded, where nothing of ours can say a sentence. */
const isOurStack = (stderr: string) =>
  /^ {4}at .*knockd-nft\.cjs/m.test(stderr) && !/Native stack trace|node:internal\/modules/.test(stderr);

/** A supervisor that is started again when it ends, as systemd does. */
class Service {
  readonly #world: World;
  readonly #env: Readonly<Record<string, string>>;
  #running: Running;
  /** How it ended, each time. */
  readonly ends: string[] = [];
  /** Exceptions that nothing caught. */
  readonly stacks: string[] = [];

  constructor(world: World, env: Readonly<Record<string, string>>) {
    this.#world = world;
    this.#env = env;
    this.#running = this.start();
  }

  get pid(): number {
    return this.#running.pid;
  }

  start(command: readonly string[] = []): Running {
    const program = [process.execPath, 'dist/knockd-nft.cjs', '--config', this.#world.configFile, 'run'];
    const [first = '', ...rest] = [...command, ...program];
    const running = this.#world.start('server', first, rest, this.#env);
    this.#running = running;
    running.ended.then(({ status, stderr }) => {
      if (this.#running !== running || status === 0 || status === KILLED) return;
      if (isOurStack(stderr)) this.stacks.push(stderr);
      this.ends.push(`ended with ${status}: ${stderr.trim().split('\n').at(-1) ?? ''}`);
      this.start();
    });
    return running;
  }

  /** Starts it anew, and lets it wait for SIGCONT before its first instruction. */
  async restartStopped(): Promise<Running> {
    const before = this.#running;
    const running = this.start(['sh', '-c', 'kill -STOP $$; exec "$@"', 'sh']);
    await before.stop();
    const state = async () =>
      (await this.#world.run('server', 'ps', ['-o', 'state=', '-p', String(running.pid)])).stdout;
    await until(state, it => it.startsWith('T'));
    return running;
  }
}

async function expectWell(
  t: Test,
  world: World,
  port: number,
  what: string,
  { ends, stacks }: Service,
): Promise<void> {
  const folders = foldersOf(world);
  const rules = await until(() => world.list(), isGuarded(port));
  t.ok(isGuarded(port)(rules), `${what}: the kernel is as the file says`);
  const told = async () => existsSync(join(folders.RUNTIME_DIRECTORY, 'trouble'));
  t.notOk(await until(told, it => !it), `${what}: and nothing is said to be wrong`);
  t.same(stacks.splice(0), [], `${what}: and no exception ends it`);
  if (ends.length > 0) t.comment(`${what}: ${ends.join('; ')}`);
}

/** So many supervisors are tried at the same time: most of it is waiting. */
const LANES = 3;

/** Tries at most `most` faults of one that runs. */
export async function tryRunning(t: Test, most: number): Promise<void> {
  let port = 1000;
  /** The file is followed, and the table put back, unless a fault keeps it from that. */
  const act = async (world: World): Promise<number> => {
    const wanted = ++port;
    world.write(guarding(wanted));
    await until(() => world.list(), isGuarded(wanted), 0.7);
    await world.nft('flush ruleset');
    await until(() => world.list(), isGuarded(wanted), 1.5);
    return wanted;
  };
  const lane = async () => {
    const world = await createWorld(t);
    world.write(guarding(port));
    const service = new Service(world, foldersOf(world));
    await until(() => world.list(), isGuarded(1000));
    return { world, service };
  };
  const [first, ...others] = await Promise.all(Array.from({ length: LANES }, lane));
  if (!first) throw new Error('no lane');
  const calls = await callsDuring(first.world, first.service.pid, async () => void (await act(first.world)));
  // a killed one is started again by systemd, which is tried in system/
  const failing = faultsOf(calls).filter(({ errno }) => errno !== KILL);
  const faults = spread(failing, most);
  const left = [...faults];
  let met = 0;
  const tryFaults = async ({ world, service }: { readonly world: World; readonly service: Service }) => {
    for (let fault = left.shift(); fault; fault = left.shift()) {
      service.ends.length = 0;
      const tracer = await attach(world, service.pid, fault);
      const happens = tracer.met(4000);
      const wanted = await act(world);
      if (await happens) met++;
      else t.comment(`${faultText(fault)}: not met`);
      await tracer.detach();
      await expectWell(t, world, wanted, faultText(fault), service);
    }
  };
  await Promise.all([first, ...others].map(tryFaults));
  t.ok(met * 4 >= faults.length * 3, `${met} of ${faults.length} faults were met`);
}

/** Tries faults of one that starts. */
export async function tryStarting(t: Test): Promise<void> {
  const world = await createWorld(t);
  world.write(guarding(2000));
  const service = new Service(world, foldersOf(world));
  await until(() => world.list(), isGuarded(2000));
  const faults: readonly Fault[] = [
    { name: 'socket', errno: 'EMFILE', number: 1 },
    { name: 'socket', errno: 'EPERM', number: 1 },
    { name: 'setsockopt', errno: 'ENOMEM', number: 1 },
    { name: 'bind', errno: 'ENOMEM', number: 1 },
    { name: 'sendmsg', errno: 'ENOBUFS', number: 1 },
    { name: 'recvmsg', errno: 'ENOMEM', number: 1 },
    { name: 'inotify_add_watch', errno: 'ENOSPC', number: 1 },
    { name: 'getdents64', errno: 'ENOMEM', number: 1 },
  ];
  let port = 2000;
  for (const fault of faults) {
    service.ends.length = 0;
    world.write(guarding(++port));
    const running = await service.restartStopped();
    await world.nft('flush ruleset');
    const tracer = await attach(world, running.pid, fault);
    running.signal('SIGCONT');
    t.ok(await tracer.met(10_000), `${faultText(fault)} was met`);
    await tracer.detach();
    await expectWell(t, world, port, `at the start, ${faultText(fault)}`, service);
  }
}
