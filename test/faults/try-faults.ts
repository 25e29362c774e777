/** Tries a command with one fault after the other, and checks after each the promises to a user. */
import { existsSync, readFileSync, rmSync } from 'node:fs';
import { dirname, join } from 'node:path';
import type { Test } from 'tap';
import { until } from '../kernel/loaded.ts';
import type { Result } from '../kernel/process.ts';
import { createWorld, type World } from '../kernel/world.ts';
import { type Command, commands, type Env, foldersOf, processes, TRIAL } from './commands.ts';
import { clear, DAMAGED, type Saved, type State, save, stateOf } from './state.ts';
import { faultsOf, faultText, runFaulty, spread, trace } from './strace.ts';

/** How many faults were tried, how many of them happened, and at how many different calls. */
export interface Tried {
  readonly faults: number;
  readonly met: number;
  readonly calls: number;
}

/** Tries at most `most` faults of a command. `tell` hears how far it is. */
export async function tryFaults(
  t: Test,
  name: string,
  most = Number.POSITIVE_INFINITY,
  tell: (text: string) => void = () => {},
): Promise<Tried> {
  const { lab, calls } = await labOf(t, name);
  const faults = spread(faultsOf(calls), most);
  let met = 0;
  for (const [index, fault] of faults.entries()) {
    if (index % 50 === 0) tell(`${index} of ${faults.length} faults tried`);
    if ((await lab.try(faultText(fault), (...given) => runFaulty(given[0], fault, given[1], given[2]))).met)
      met++;
  }
  t.ok(met * 2 >= faults.length, `${met} of ${faults.length} faults happened`);
  return { faults: faults.length, met, calls: new Set(faults.map(it => `${it.name} ${it.number}`)).size };
}

/** Tries a command in surroundings that are not as they should be, by the name of each. */
export async function trySurroundings(
  t: Test,
  name: string,
  surroundings: Readonly<Record<string, Run>>,
): Promise<void> {
  const { lab } = await labOf(t, name);
  for (const [what, run] of Object.entries(surroundings)) await lab.try(what, run);
}

/** Runs our program with these words, in its own way. */
export type Run = (world: World, words: readonly string[], env: Env) => Promise<Result & { met?: boolean }>;

async function labOf(t: Test, name: string) {
  const world = await createWorld(t);
  const command = commands(dirname(world.configFile))[name];
  if (!command) throw new Error(`there is no command ${name}`);
  const env = foldersOf(world);
  await command.prepare(world, env);
  const saved = await save(world);
  const { result, calls } = await trace(world, wordsOf(world, command), env);
  const lab = new Lab(t, world, { command, env, saved, clean: { ...result, state: await stateNow(world) } });
  return { lab, calls };
}

/** Also the bytes of each file. */
function isSame(now: Saved, then: Saved | undefined): boolean {
  return (
    then !== undefined &&
    fingerprint(stateOf(now)) === fingerprint(stateOf(then)) &&
    [...now.files].every(([path, bytes]) => then.files.get(path)?.equals(bytes))
  );
}

/** The words of a command, with the id of the trial that is under way. */
function wordsOf(world: World, { words }: Command): readonly string[] {
  const notes = join(foldersOf(world).RUNTIME_DIRECTORY, 'trial');
  const id = existsSync(notes) ? readFileSync(notes).subarray(0, 12).toString() : 'none';
  return words.map(word => (word === TRIAL ? id : word));
}

const stateNow = async (world: World): Promise<State> => stateOf(await save(world));
const fingerprint = (state: State) => JSON.stringify({ ...state, files: [...state.files] });

interface Given {
  readonly command: Command;
  readonly env: Env;
  /** The state before the command. */
  readonly saved: Saved;
  /** How the command ends without a fault, and what is there then. */
  readonly clean: Result & { readonly state: State };
}

class Lab {
  readonly #t: Test;
  readonly #world: World;
  readonly #given: Given;
  readonly #before: State;
  /** As it was made the last time. */
  #last: Saved | undefined;
  /** The states after a fault on which the next run was tried already. */
  readonly #seen = new Set<string>();
  /** Whether the rules are those of the file, which a program takes its time to tell. */
  readonly #new = new WeakMap<State, Promise<boolean>>();

  constructor(t: Test, world: World, given: Given) {
    this.#t = t;
    this.#world = world;
    this.#given = given;
    this.#before = stateOf(given.saved);
  }

  /** Runs the command once, and then without the fault. */
  async try(what: string, run: Run): Promise<Result & { met?: boolean }> {
    const { command, env } = this.#given;
    await this.#bringBack();
    const result = await run(this.#world, wordsOf(this.#world, command), env);
    await until(
      () => processes(this.#world),
      left => left.length === 0,
    );
    if (/ at unlink /.test(what)) await this.#removeTemporary(); // what the system does not remove stays
    const state = await stateNow(this.#world);
    const died = result.status >= 128 || OF_NODE.test(result.stderr);
    const wrong = [
      ...(await this.#notWhole(result, state)),
      ...(died ? [] : await this.#untrue(result, state)),
    ];
    const seen = fingerprint(state);
    if (!this.#seen.has(seen)) wrong.push(...(await this.#unrepaired(result)));
    this.#seen.add(seen);
    const said = `${result.status} ${died ? '' : result.stderr.trim()}`;
    this.#t.same(wrong, [], `${what}${result.met === false ? ' (did not happen)' : ''}: ${said}`);
    return result;
  }

  /** Makes what was there before, unless it still is. */
  async #bringBack(): Promise<void> {
    const { command, env } = this.#given;
    const now = await save(this.#world);
    if (isSame(now, this.#last)) return;
    await clear(this.#world);
    await command.prepare(this.#world, env);
    this.#last = await save(this.#world);
  }

  /** All must be the old or the new, never a half, and no client that was in may be out. */
  async #notWhole({ status, stderr }: Result, state: State): Promise<string[]> {
    const { command, clean } = this.#given;
    const isHalf = status >= 128 || /a part is done already/.test(stderr); // of a few transactions
    const isWhole = state.rules === this.#before.rules || (await this.#isNew(state)) || isHalf;
    const files = [...state.files].filter(([path, content]) => {
      if (TEMPORARY.test(path) || command.copies?.test(path)) return false; // judged by what the next run leaves
      if (path.endsWith('tokens.json')) return content === DAMAGED; // its times and places go on
      if (command.fits && path === 'knockd-nft.json') return content === DAMAGED;
      return content !== this.#before.files.get(path) && content !== clean.state.files.get(path);
    });
    const out = this.#before.clients.filter(it => !state.clients.includes(it) && !command.out?.includes(it));
    return [
      ...(isWhole ? [] : ['the rules are neither the old nor the new ones']),
      ...files.map(([path, content]) => `${path} is neither the old nor the new one: ${content}`),
      ...out.map(it => `out: ${it}`),
    ];
  }

  /** To be asked while `state` lasts. */
  #isNew(state: State): Promise<boolean> {
    const { command, env, clean } = this.#given;
    if (!command.chance || state.rules === clean.state.rules)
      return Promise.resolve(state.rules === clean.state.rules);
    const asked =
      this.#new.get(state) ?? this.#world.knockd(['diff'], { env }).then(({ status }) => status === 0);
    this.#new.set(state, asked);
    return asked;
  }

  /** Its messages and its exit status must be true. */
  async #untrue(result: Result, state: State): Promise<string[]> {
    const { command, clean } = this.#given;
    const { status, stdout, stderr } = result;
    const changed = this.#changed(state);
    const left = [...state.files.keys()].filter(path => TEMPORARY.test(path));
    const wrong = left.map(path => `left ${path}`);
    if (/^ {4}at /m.test(stderr)) wrong.push('a stack, no sentence');
    if (status !== clean.status && /nothing was (changed|written)/.test(stderr) && changed.length > 0)
      wrong.push(`it says that nothing was changed: ${changed}`);
    if (status !== clean.status && changed.length > 0 && !ADMITS.test(stdout + stderr))
      wrong.push(`it fails, and does not say that it changed something: ${changed}`);
    if (status !== clean.status) return stderr.trim() === '' ? [...wrong, 'it does not say why'] : wrong;
    if (
      stderr !== clean.stderr ||
      /not fed|"trouble":\["|, from .* on|NOT IN FORCE|UNKNOWN/.test(stdout) ||
      ERRNO.test(stdout)
    )
      return wrong; // it says what is different
    const lacking = [
      ...((await this.#isNew(state)) ? [] : ['rules']),
      ...(state.tokens === clean.state.tokens ? [] : ['tokens']),
      ...clean.state.clients.filter(it => !state.clients.includes(it)),
      ...[...clean.state.files]
        .filter(([path, it]) => this.#counts(path) && state.files.get(path) !== it)
        .map(([path]) => path),
    ];
    if (lacking.length > 0) wrong.push(`it says that all is done: ${lacking}`);
    if (!command.chance && !command.unheard && plain(stdout) !== plain(clean.stdout))
      wrong.push(`it said: ${stdout}`);
    return wrong;
  }

  async #removeTemporary(): Promise<void> {
    for (const path of (await save(this.#world)).files.keys())
      if (TEMPORARY.test(path)) rmSync(join(dirname(this.#world.configFile), path));
  }

  #counts(path: string): boolean {
    return !NOTES.test(path) && !(this.#given.command.fits && path === 'knockd-nft.json');
  }

  /** Without the notes that no later run depends on. */
  #changed(state: State): readonly string[] {
    const files = new Set([...this.#before.files.keys(), ...state.files.keys()]);
    return [
      ...(state.rules === this.#before.rules ? [] : ['rules']),
      ...(state.tokens === this.#before.tokens ? [] : ['tokens']),
      ...(String(state.clients) === String(this.#before.clients) ? [] : ['clients']),
      ...[...files].filter(
        path => !NOTES.test(path) && state.files.get(path) !== this.#before.files.get(path),
      ),
    ];
  }

  /** The next run of the same command, or what its message tells to do, does all of it. */
  async #unrepaired(faulty: Result): Promise<string[]> {
    const { command, env, clean } = this.#given;
    const [, named] = /: remove (\/\S+)$/m.exec(faulty.stderr + faulty.stdout) ?? [];
    if (named !== undefined) rmSync(named);
    const again = await this.#world.knockd(wordsOf(this.#world, command), { env });
    const said = `once more: ${again.status} ${again.stderr.trim()}`;
    const isNamed = /knockd-nft\b.* load\b|cannot be (kept|removed)/.test(
      faulty.stdout + faulty.stderr + again.stderr,
    );
    const isAll = again.status === clean.status && !/NOT IN FORCE YET/.test(again.stdout);
    if (!isAll && (isNamed || command.words[0] === 'user')) await this.#world.knockd(['load'], { env });
    const state = await stateNow(this.#world);
    const files = ({ files }: State) =>
      [...files]
        .filter(([path]) => this.#counts(path) && !command.copies?.test(path))
        .map(entry => entry.join(': '));
    const [now, then] = [files(state), files(clean.state)];
    return [
      ...(/^ {4}at /m.test(again.stderr) ? [said] : []),
      ...((await this.#isNew(state)) ? [] : [`${said}, and the rules are not the new ones`]),
      ...now.filter(it => !then.includes(it)).map(it => `${said}, and there is ${it}`),
      ...then.filter(it => !now.includes(it)).map(it => `${said}, and there is not ${it}`),
      ...(String(state.clients) === String(clean.state.clients)
        ? []
        : [`${said}, and in are ${state.clients}`]),
      ...(await processes(this.#world)).map(it => `${said}, and process ${it} is left`),
    ];
  }
}

/** Node.js itself, or the loading of its modules: nothing of ours can say a sentence then. */
const OF_NODE = /Native stack trace|node:internal\/(modules|bootstrap)/;
/** Words of a command that failed after it changed something. The last one is about its own output. */
const ADMITS =
  /are revoked|NOT IN FORCE YET|notes of the trial cannot be removed|the former rules are back|a part is done already|may have done it|cannot write \(/;
const ERRNO = /\bE(IO|NOMEM|MFILE|NFILE|ROFS|NOSPC|PERM|NOBUFS|INTR|AGAIN|CONNREFUSED)\b/;
const TEMPORARY = /\.tmp$/;
/** The ledger of tokens has its own test, in feeder/. How a trial ended, and who was revoked, can be known without the notes. */
const NOTES = /(tokens\.json|run\/tried|run\/revoked)$/;

/** Without times, which go on. Metrics leave out what cannot be known. */
function plain(text: string): string {
  return text
    .replace(/\b[0-9a-f]{12}\b/g, 'ID')
    .replace(/\d{4}-\d\d-\d\dT[\d:.]+Z/g, 'TIME')
    .replace(/\b\d+(\.\d+)?\b/g, 'N')
    .replace(/,"until":N/, '');
}
