/**
 * Each system call of the supervisor and of the loader fails once in turn. $KNOCKD_NFT_FAULTS=all tries all that
 * test/kernel/faults.ts knows, which takes its time.
 */
import { existsSync, mkdirSync } from 'node:fs';
import { dirname, join } from 'node:path';
import t, { type Test } from 'tap';
import {
  attach,
  cannotInject,
  chooseFaults,
  countCalls,
  countOwnCalls,
  type Fault,
  faultText,
  runWith,
} from '../kernel/faults.ts';
import type { Running } from '../kernel/process.ts';
import { createWorld, missing, type World } from '../kernel/world.ts';
import { ssh, until } from './supervised.ts';

const skip = missing('namespaces', 'nft', 'knockd') || cannotInject();

/** How long it may take until all is well again, in seconds: the longest pause between two attempts, and a load. */
const WELL = 35;

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

/** A supervisor that is started again when it ends, as systemd does. */
class Service {
  readonly #world: World;
  readonly #env: Readonly<Record<string, string>>;
  #running: Running;
  /** How it ended, each time. */
  readonly ends: string[] = [];

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
      if (this.#running !== running || status === 0) return;
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
  ends: readonly string[],
): Promise<void> {
  const folders = foldersOf(world);
  const rules = await until(() => world.list(), isGuarded(port), WELL);
  t.ok(isGuarded(port)(rules), `${what}: the kernel is as the file says`);
  const told = async () => existsSync(join(folders.RUNTIME_DIRECTORY, 'trouble'));
  t.notOk(await until(told, it => !it, WELL), `${what}: and nothing is said to be wrong`);
  if (ends.length > 0) t.comment(`${what}: ${ends.join('; ')}`);
}

t.test(
  'whatever call of the supervisor fails, the kernel is as the file says soon after',
  { skip },
  async t => {
    const world = await createWorld(t);
    world.write(guarding(1000));
    const service = new Service(world, foldersOf(world));
    await until(() => world.list(), isGuarded(1000));
    let port = 1000;
    /** The file is followed, and the table put back, unless a fault keeps it from that. */
    const act = async () => {
      world.write(guarding(++port));
      await until(() => world.list(), isGuarded(port), 0.7);
      await world.nft('flush ruleset');
      await until(() => world.list(), isGuarded(port), 1.5);
    };
    const calls = await countCalls(world, service.pid, act);
    const faults = chooseFaults(new Map([...calls].map(([call, last]) => [call, [0, last] as const])));
    let met = 0;
    for (const fault of faults) {
      service.ends.length = 0;
      const tracer = await attach(world, service.pid, fault);
      const happens = tracer.met(4000);
      await act();
      if (await happens) met++;
      else t.comment(`${faultText(fault)}: not met`);
      await tracer.detach();
      await expectWell(t, world, port, faultText(fault), service.ends);
    }
    t.ok(met * 4 >= faults.length * 3, `${met} of ${faults.length} faults were met`);
  },
);

t.test('whatever call fails while the supervisor starts, it guards soon after', { skip }, async t => {
  const world = await createWorld(t);
  world.write(guarding(2000));
  const service = new Service(world, foldersOf(world));
  await until(() => world.list(), isGuarded(2000));
  const faults: readonly Fault[] = [
    { syscall: 'socket', errno: 'EMFILE', when: 1 },
    { syscall: 'socket', errno: 'EPERM', when: 1 },
    { syscall: 'setsockopt', errno: 'ENOMEM', when: 1 },
    { syscall: 'bind', errno: 'ENOMEM', when: 1 },
    { syscall: 'sendmsg', errno: 'ENOBUFS', when: 1 },
    { syscall: 'recvmsg', errno: 'ENOMEM', when: 1 },
    { syscall: 'inotify_add_watch', errno: 'ENOSPC', when: 1 },
    { syscall: 'getdents64', errno: 'ENOMEM', when: 1 },
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
    await expectWell(t, world, port, `at the start, ${faultText(fault)}`, service.ends);
  }
});

t.test('whatever call of load fails, what it says is true', { skip }, async t => {
  const world = await createWorld(t);
  const env = foldersOf(world);
  world.write(guarding(3000));
  const faults = chooseFaults(await countOwnCalls(world, ['load'], env));
  let port = 3000;
  let met = 0;
  for (const fault of faults) {
    const what = faultText(fault);
    world.write(guarding(++port));
    const before = await world.list();
    const result = await runWith(world, fault, ['load'], env);
    const after = await world.list();
    if (result.met) met++;
    else t.comment(`${what}: not met`);
    const said = `${what}: ${result.status} ${result.stderr}`;
    if (result.status === 0) t.ok(isGuarded(port)(after), `${said}: it is loaded`);
    else if (/nothing was changed/.test(result.stderr)) t.equal(after, before, said);
    else t.ok(after === before || isGuarded(port)(after), `${said}: all or nothing`);
    // Node.js itself, or the loading of its modules
    if (result.status > 128 || /^ {4}at /m.test(result.stderr))
      t.comment(`${what}: no sentence, ${result.status}`);
    t.equal((await world.knockd(['load'], { env })).status, 0, `${what}: and once more it goes well`);
  }
  t.ok(met * 4 >= faults.length * 3, `${met} of ${faults.length} faults were met`);
});
