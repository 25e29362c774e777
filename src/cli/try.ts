import { existsSync, realpathSync } from 'node:fs';
import { resolve } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { configPath } from '../config/read.ts';
import { follows, runningSupervisor } from '../host/hold.ts';
import { isFromHere, sshConnection } from '../host/login.ts';
import { makeReadable } from '../host/readable.ts';
import { formatDuration } from '../inet/duration.ts';
import { changeText, count } from '../ruleset/describe.ts';
import { painter } from '../terminal/paint.ts';
import { type Begun, beginTrial } from '../trial/begin.ts';
import { isUnderWay, type Trial } from '../trial/notes.ts';
import { endOf, type Settled, undoTrial } from '../trial/settle.ts';
import { knockConfirms, LOOK } from '../trial/wait.ts';
import type { Start } from '../trial/witness.ts';
import { readConfiguration } from './configuration.ts';
import { type Context, EXIT, UsageError } from './context.ts';
import { tellingOnce } from './failure.ts';
import { readTime } from './words.ts';

/** How late the undo may come before we do it here, in milliseconds. */
const LATE = 5000;

/** `try`: begins a trial, and stays to report how it ends. The undo does not depend on this process. */
export async function tryCommand(
  context: Context,
  file: string | undefined,
  duration = '30s',
): Promise<number> {
  const time = readTime('--for', duration);
  const path = resolve(configPath(context.config, context.env));
  const candidate = file === undefined || isSame(file, path) ? null : resolve(file);
  refuseUnderSupervisor(context, path, candidate);
  const { config, bytes, secretFiles } = await readConfiguration(context, candidate ?? path, path);
  // a candidate takes its place with its rights
  makeReadable(existsSync(path) ? path : (candidate ?? path), secretFiles, context);
  const interrupted = new AbortController();
  process.once('SIGINT', () => {
    if (process.stdin.isTTY) context.tell(''); // below the ^C of the terminal
    interrupted.abort();
  });
  const login = sshConnection(context.env);
  const begun = await beginTrial(context.env, {
    config,
    bytes,
    path,
    candidate,
    duration: time,
    login: login && !isFromHere(login) ? login : undefined,
  });
  if (!begun) return nothingToTry(context, path, candidate);
  tellBegun(context, begun, time);
  const ended = await settled(context, begun.trial, time, interrupted.signal);
  tellEnd(context, ended);
  return ended.is === 'confirmed' ? EXIT.DONE : EXIT.FAILED;
}

function isSame(file: string, path: string): boolean {
  return existsSync(file) && existsSync(path) && realpathSync(file) === realpathSync(path);
}

/** A supervisor puts its file in force when that is saved, so nothing is left to try. */
function refuseUnderSupervisor({ env }: Context, path: string, candidate: string | null): void {
  const supervisor = runningSupervisor(env);
  if (!supervisor) return;
  if (!follows(supervisor, path))
    throw new UsageError(
      `the running supervisor (process ${supervisor.pid}) follows another file: knockd-nft --config ${supervisor.config} try FILE`,
    );
  if (candidate === null)
    throw new UsageError(
      `the running supervisor (process ${supervisor.pid}) follows ${path}, and loads what is saved there at once. Edit and try a copy: cp -p ${path} ${path}.new, and then knockd-nft try ${path}.new`,
    );
}

function nothingToTry({ json, print }: Context, path: string, candidate: string | null): number {
  const hint = candidate === null ? '' : `; to keep its text: mv ${candidate} ${path}`;
  if (json) print(JSON.stringify({ event: 'unchanged' }));
  else print(`nothing to try: the kernel has these rules already${hint}`);
  return EXIT.DONE;
}

function clock(milliseconds: number): string {
  return new Date(milliseconds).toTimeString().slice(0, 8);
}

function tellBegun(
  { env, tell }: Context,
  { trial, start, undoer, sessions, changes, warnings }: Begun,
  time: number,
): void {
  const paint = painter(env, process.stderr);
  tell(paint('bold', `trying ${trial.candidate ?? trial.config}`));
  for (const change of changes) tell(`  ${changeText(change)}`);
  for (const warning of warnings) tell(warning);
  if (sessions > 0) tell(`  ${count(sessions, 'running connection')} kept`);
  const by = undoer.is === 'systemd' ? 'a timer of systemd' : 'a process of its own';
  tell([
    '',
    `It is undone at ${clock(trial.until)}, in ${formatDuration(time)}, by ${by}, unless you`,
    '  - log in again, in another terminal, and run there:  sudo knockd-nft confirm',
    ...knockLines(start),
    'That does not need this terminal. Ctrl-C goes back at once.',
    '',
  ]);
}

/** Empty if no knock can prove the candidate. */
function knockLines({ proofs }: Start): string[] {
  if (proofs.length === 0) return [];
  const from = proofs.some(({ anybody }) => anybody.size > 0) ? '' : ' from where you are';
  return [`  - or knock${from}, and connect: that confirms it by itself.`];
}

/** Waits for the end of a trial. Ctrl-C ends it, too. */
async function settled(
  context: Context,
  trial: Trial,
  time: number,
  interrupted: AbortSignal,
): Promise<Settled> {
  const { env } = context;
  const late = performance.now() + time + LATE; // measured by the monotonic clock, since the other may be set meanwhile
  const confirmIfKnocked = knockConfirms(env, trial.id, tellingOnce(context));
  while (isUnderWay(env, trial.id)) {
    await delay(LOOK, undefined, { signal: interrupted }).catch(() => {});
    const over = interrupted.aborted || performance.now() > late;
    const end = over ? await undoTrial(env, trial.id) : await confirmIfKnocked();
    if (end) return end;
  }
  return endOf(env, trial);
}

/** Prints how a trial ended. */
export function tellEnd({ env, json, print, tell }: Context, settled: Settled): void {
  const { is, trial, shown, warnings } = settled;
  for (const warning of warnings) tell(warning);
  const knocked = shown ? { knocked: shown.service, user: shown.user } : { knocked: null, user: null };
  if (json) print(JSON.stringify({ event: is, file: trial.config, ...knocked }));
  else print(painter(env)(is === 'confirmed' ? 'green' : 'yellow', endText(settled)));
}

function endText({ is, shown, trial: { candidate, config, former } }: Settled): string {
  if (is === 'undone')
    return former
      ? `undone: the former rules are back; ${candidate ?? config} is as you left it`
      : `undone: nothing is guarded, as before; ${candidate ?? config} is as you left it`;
  const as = shown?.user ? ` as ${shown.user}` : '';
  const how = shown ? ` by a knock: a client opened ${shown.service}${as} and came in` : '';
  return `confirmed${how}; ${candidate === null ? `${config} is in force` : `${candidate} is ${config} now`}`;
}
