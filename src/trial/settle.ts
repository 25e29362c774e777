import { existsSync, readFileSync, realpathSync, rmSync } from 'node:fs';
import { setTimeout as delay } from 'node:timers/promises';
import { readBytes } from '../config/file.ts';
import { parseConfig } from '../config/parse.ts';
import { formatProblem } from '../config/problems.ts';
import { withSecrets } from '../config/with-secrets.ts';
import { applyAgain, loadWarnings, unkeptTexts, withdrawing } from '../feeder/apply.ts';
import { type Access, withKernel } from '../host/access.ts';
import { monotonic } from '../host/clock.ts';
import { rightsOf } from '../host/edit-file.ts';
import { writeWhole } from '../host/files.ts';
import { bringBackHold, endHold } from '../host/hold.ts';
import { keepLastGood, lastGoodPath } from '../host/last-good.ts';
import { compile } from '../ruleset/compile.ts';
import { TrialError } from '../table/errors.ts';
import { isInForce, unload } from '../table/load.ts';
import { readKernel } from '../table/read.ts';
import { withoutRevoked } from '../table/revocations.ts';
import { Writer } from '../table/writer.ts';
import { type End, readEnd } from './end.ts';
import { awaitTrial, type Claim, type Trial } from './notes.ts';
import { forgetUnconfirmed, isUnconfirmed } from './unconfirmed.ts';
import { disarmUndo } from './undoer.ts';
import type { Shown } from './witness.ts';

/** A trial that ended. */
export interface Settled extends End {
  readonly trial: Trial;
  /** Messages about parts that could not be brought back. */
  readonly warnings: readonly string[];
}

/**
 * Confirms the trial: the candidate becomes the configuration. Undefined if no trial is under way, or if another process has
 * just ended it. Throws {@link TrialError} if the kernel no longer has what was tried.
 */
export async function confirmTrial(
  env: NodeJS.ProcessEnv,
  id?: string,
  shown?: Shown,
): Promise<Settled | undefined> {
  return end(
    await awaitTrial(env, id, { force: false }),
    { is: 'confirmed', ...(shown && { shown }) },
    claim => withKernel(access => confirm(access, env, claim)),
  );
}

/** Goes back to the former ruleset, or to none, with the clients that were in. Undefined as in {@link confirmTrial}. */
export async function undoTrial(env: NodeJS.ProcessEnv, id?: string): Promise<Settled | undefined> {
  return end(await awaitTrial(env, id, { force: true }), { is: 'undone' }, ({ trial }) =>
    withKernel(access => undo(access, env, trial)),
  );
}

async function end(
  claim: Claim | undefined,
  how: End,
  act: (claim: Claim) => Promise<readonly string[]>,
): Promise<Settled | undefined> {
  if (!claim) return undefined;
  let warnings: readonly string[];
  try {
    warnings = await act(claim);
    drop(claim, how);
  } catch (error) {
    claim.release();
    throw error;
  }
  await disarmUndo(claim.trial.id);
  return { ...how, trial: claim.trial, warnings };
}

/** Ends the trial. If that fails, all else is done already, but the undoer does not know that. */
function drop(claim: Claim, how: End): void {
  try {
    claim.drop(how);
  } catch (error) {
    const [done, again] = {
      confirmed: ['the candidate is the configuration now', 'confirm it again, before its time is over'],
      undone: ['the former rules are back', 'undo it again'],
    }[how.is];
    const why = error instanceof Error ? error.message : error;
    throw new TrialError(`${done}, but the notes of the trial cannot be removed (${why}): ${again}`);
  }
}

/**
 * How a trial ended that is not there any more. If no note says so, the runtime folder may have been removed. If the candidate
 * is still in force then and was not kept, this undoes it here and now, because no other process can.
 */
export async function endOf(env: NodeJS.ProcessEnv, trial: Trial): Promise<Settled> {
  const end = readEnd(env, trial.id);
  if (end) return { ...end, trial, warnings: [] };
  return withKernel(async access => {
    if (!(await isCandidateInForce(access, trial, env))) {
      await untilBack(access, trial); // another process may be undoing it, in a few transactions
      return { is: 'undone', trial, warnings: [] };
    }
    if (isKept(env, trial)) return { is: 'confirmed', trial, warnings: [] };
    return { is: 'undone', trial, warnings: await undo(access, env, trial) };
  });
}

function isKept(env: NodeJS.ProcessEnv, { config, candidate, bytes }: Trial): boolean {
  if (candidate === null) return !isUnconfirmed(env, bytes);
  return existsSync(config) && readFileSync(config).equals(bytes);
}

/** Whether the kernel has the candidate of that trial. */
async function isCandidateInForce(
  { connection }: Access,
  { bytes, config: path }: Trial,
  env: NodeJS.ProcessEnv,
): Promise<boolean> {
  const { config } = parseConfig(Buffer.from(bytes).toString(), path, env);
  return isInForce(connection, await readKernel(connection), compile(config));
}

/** How long another process may take to bring the former ruleset back, and how often to look, in milliseconds. */
const PATIENCE = 5000;
const LOOK = 50;

/**
 * Waits until the kernel has the ruleset from before the trial. The wait is short, since another load may have come
 * since.
 */
async function untilBack({ connection }: Access, { former }: Trial): Promise<void> {
  for (const end = monotonic() + PATIENCE; monotonic() < end; await delay(LOOK)) {
    const kernel = await readKernel(connection);
    const isBack = former ? await isInForce(connection, kernel, former) : kernel.ours.length === 0;
    if (isBack) return;
  }
}

async function confirm(
  access: Access,
  env: NodeJS.ProcessEnv,
  { trial, isThere }: Claim,
): Promise<readonly string[]> {
  if (!(await isCandidateInForce(access, trial, env)))
    throw new TrialError(
      'the kernel no longer has the candidate: another program changed it. The trial is undone when its time is over; "knockd-nft undo" does that now',
    );
  const remembered = inItsFolder(env, trial);
  const kept = lastGoodPath(remembered);
  const text = Buffer.from(trial.bytes).toString();
  const good = withSecrets(text, parseConfig(text, trial.config, env).config);
  if (!isThere()) throw new TrialError('the trial is over: "knockd-nft try" starts another');
  forgetUnconfirmed(remembered, trial.bytes);
  // once the file is replaced, an undo would no longer bring back all, so whatever fails from here on is a warning
  const left = trial.candidate === null ? undefined : install(trial, trial.candidate);
  const unkept = kept === undefined ? [] : keepLastGood(kept, good);
  return [...unkept.map(formatProblem), ...[left, endHold(env)].filter(it => it !== undefined)];
}

/** The environment with the state folder that the trial was begun with. */
function inItsFolder(env: NodeJS.ProcessEnv, { stateFolder }: Pick<Trial, 'stateFolder'>): NodeJS.ProcessEnv {
  return stateFolder === null ? env : { ...env, STATE_DIRECTORY: stateFolder };
}

/**
 * Puts the candidate, as it was tried, in the configuration's place: with the old file's rights, and behind links. Returns a
 * sentence if the candidate's file stays, too.
 */
function install({ config, bytes }: Trial, candidate: string): string | undefined {
  const path = existsSync(config) ? realpathSync(config) : config;
  const model = [path, candidate].find(it => existsSync(it));
  try {
    writeWhole(path, bytes, model === undefined ? { mode: 0o600 } : rightsOf(model));
  } catch (error) {
    if (!(error instanceof Error && 'code' in error)) throw error;
    throw new TrialError(
      `${path} cannot be written (${error.code}): make it writable and confirm again, before the time is over`,
    );
  }
  try {
    if (isStill(candidate, bytes)) rmSync(candidate);
    return undefined;
  } catch (error) {
    return `${candidate} is no longer needed, and cannot be removed (${error instanceof Error ? error.message : error})`;
  }
}

/** Whether the candidate still has that content. Its author may have edited or removed it. */
function isStill(candidate: string, bytes: Uint8Array): boolean {
  try {
    return readBytes(candidate).bytes.equals(bytes);
  } catch {
    return false;
  }
}

async function undo(access: Access, env: NodeJS.ProcessEnv, trial: Trial): Promise<readonly string[]> {
  const warnings = await restore(access, env, trial);
  const left = bringBackHold(env, trial.hold ?? undefined);
  if (left !== undefined) throw new TrialError(`the former rules are back, but ${left}; then undo it again`);
  return warnings;
}

/**
 * Brings back the ruleset and the clients from before the trial. Returns messages about parts that could not be brought
 * back.
 */
export async function restore(
  access: Access,
  env: NodeJS.ProcessEnv,
  trial: Pick<Trial, 'former' | 'clients' | 'seen' | 'stateFolder'>,
): Promise<readonly string[]> {
  const { former, clients, seen } = trial;
  const state = inItsFolder(env, trial);
  if (former) {
    const remembered = withoutRevoked(env, clients, seen);
    return loadWarnings(await applyAgain(access, former, { env: state, remembered }));
  }
  const writer = new Writer(access.connection);
  return withdrawing(writer, await readKernel(access.connection), undefined, state, async unkept => {
    await unload(writer);
    return unkeptTexts({ is: 'none', unkept });
  });
}
