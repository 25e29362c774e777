import { existsSync, readFileSync, realpathSync, rmSync } from 'node:fs';
import { readBytes } from '../config/file.ts';
import { parseConfig } from '../config/parse.ts';
import { type Access, withKernel } from '../host/access.ts';
import { rightsOf } from '../host/edit-file.ts';
import { writeWhole } from '../host/files.ts';
import { endHold, writeHold } from '../host/hold.ts';
import { keepLastGood, lastGoodPath } from '../host/last-good.ts';
import type { Session } from '../host/sessions.ts';
import type { Connection } from '../netlink/connection.ts';
import { byName, type Ruleset } from '../nftables/ruleset.ts';
import { compile } from '../ruleset/compile.ts';
import { names } from '../ruleset/names.ts';
import { servicePorts } from '../ruleset/program.ts';
import { TrialError } from '../table/errors.ts';
import { load, planLoad, unload } from '../table/load.ts';
import { readKernel } from '../table/read.ts';
import { withoutRevoked } from '../table/revocations.ts';
import { VERSION } from '../version.ts';
import { awaitTrial, type Claim, readTrial, type Trial } from './notes.ts';
import { forgetUnconfirmed, isUnconfirmed } from './unconfirmed.ts';
import { disarmUndo } from './undoer.ts';

/** How a trial ended. */
export interface Settled {
  readonly is: 'confirmed' | 'undone';
  readonly trial: Trial;
  /** The service whose client knocked and came in: that is what confirmed it. */
  readonly knocked?: string;
}

/** Tells connections apart, however a socket names the peer. */
export function sessionId({ peer, peerPort, port }: Session): string {
  return `${peer.toString('hex')} ${peerPort} ${port}`;
}

/** The table of a ruleset that is in the kernel: by its name, or else ours under another name. */
async function ours(connection: Connection, table: string): Promise<Ruleset | undefined> {
  const kernel = await readKernel(connection);
  return kernel.ours.find(it => it.table.name === table) ?? kernel.ours[0];
}

/** Packets by the name of the counter. */
export async function readCounters(connection: Connection, table: string): Promise<Map<string, number>> {
  const counters = (await ours(connection, table))?.counters ?? [];
  return new Map(counters.map(({ name, packets }) => [name, packets]));
}

/** A service that a client opened by knocking and then entered, since the candidate's rules are in force. */
async function knockedService({ connection }: Access, { counters }: Trial): Promise<string | undefined> {
  if (counters === null) return undefined;
  const kernel = await readKernel(connection);
  for (const ruleset of kernel.ours) {
    const now = byName(ruleset.counters);
    const rose = (name: string) => (now.get(name)?.packets ?? 0) > (counters.get(name) ?? 0);
    for (const service of servicePorts(ruleset).keys())
      if (rose(names.opened(service)) && rose(names.accepted(service))) return service;
  }
  return undefined;
}

/**
 * Keeps what is tried: the candidate becomes the configuration. Undefined where nothing is being tried, or where somebody
 * else has just ended it. Throws {@link TrialError} where the kernel no longer has what was tried.
 */
export async function confirmTrial(env: NodeJS.ProcessEnv, id?: string): Promise<Settled | undefined> {
  return end(await awaitTrial(env, id, { force: false }), async claim => {
    await withKernel(access => confirm(access, env, claim));
    return { is: 'confirmed', trial: claim.trial };
  });
}

/** Goes back to the ruleset that was, or to none, with the clients that were in. Undefined as in {@link confirmTrial}. */
export async function undoTrial(env: NodeJS.ProcessEnv, id?: string): Promise<Settled | undefined> {
  return end(await awaitTrial(env, id, { force: true }), async claim => {
    await withKernel(access => undo(access, env, claim.trial));
    return { is: 'undone', trial: claim.trial };
  });
}

/** Confirms a trial if a client knocked and came in. */
export async function confirmIfKnocked(env: NodeJS.ProcessEnv, id: string): Promise<Settled | undefined> {
  const trial = readTrial(env);
  if (trial?.id !== id) return undefined;
  const knocked = await withKernel(access => knockedService(access, trial));
  if (knocked === undefined) return undefined;
  const settled = await confirmTrial(env, id);
  return settled && { ...settled, knocked };
}

async function end(
  claim: Claim | undefined,
  act: (claim: Claim) => Promise<Settled>,
): Promise<Settled | undefined> {
  if (!claim) return undefined;
  try {
    const settled = await act(claim);
    claim.drop();
    await disarmUndo(claim.trial.id);
    return settled;
  } catch (error) {
    claim.release();
    throw error;
  }
}

/**
 * How a trial ended that is not there any more. It may be gone because somebody removed the runtime folder: what is in force
 * then without being kept is undone here and now, since nobody else can.
 */
export function endOf(env: NodeJS.ProcessEnv, trial: Trial): Promise<Settled> {
  return withKernel(async access => {
    if (!(await isInForce(access, trial, env))) return { is: 'undone', trial };
    if (isKept(env, trial)) return { is: 'confirmed', trial };
    await undo(access, env, trial);
    return { is: 'undone', trial };
  });
}

function isKept(env: NodeJS.ProcessEnv, { config, candidate, bytes }: Trial): boolean {
  if (candidate === null) return !isUnconfirmed(env, bytes);
  return existsSync(config) && readFileSync(config).equals(bytes);
}

/** Whether the kernel has what is, or was, tried. */
async function isInForce(
  { connection, sessions }: Access,
  { bytes, config: path }: Trial,
  env: NodeJS.ProcessEnv,
): Promise<boolean> {
  const { config } = parseConfig(Buffer.from(bytes).toString(), path, env);
  const wanted = compile(config, VERSION);
  return (await planLoad(connection, await readKernel(connection), wanted, sessions)).messages.length === 0;
}

async function confirm(access: Access, env: NodeJS.ProcessEnv, { trial, isThere }: Claim): Promise<void> {
  if (!(await isInForce(access, trial, env)))
    throw new TrialError(
      'the kernel no longer has what was tried: another program changed it. It is undone when its time is over; "knockd-nft undo" does so now',
    );
  if (!isThere()) throw new TrialError('its time is over: "knockd-nft try" tries it again');
  if (trial.candidate !== null) install(trial, trial.candidate);
  const remembered = trial.stateFolder === null ? env : { ...env, STATE_DIRECTORY: trial.stateFolder };
  forgetUnconfirmed(remembered, trial.bytes);
  const kept = lastGoodPath(remembered);
  if (kept !== undefined) keepLastGood(kept, trial.bytes);
  endHold(env);
}

/** The candidate as it was tried takes the configuration's place, with its rights, where there is one, also behind a link. */
function install({ config, bytes }: Trial, candidate: string): void {
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
  if (isStill(candidate, bytes)) rmSync(candidate);
}

/** Somebody may go on editing it, or have taken it away. */
function isStill(candidate: string, bytes: Uint8Array): boolean {
  try {
    return readBytes(candidate).bytes.equals(bytes);
  } catch {
    return false;
  }
}

async function undo(access: Access, env: NodeJS.ProcessEnv, trial: Trial): Promise<void> {
  await restore(access, env, trial);
  if (trial.hold) writeHold(env, trial.hold);
  else endHold(env);
}

/** What was there before the trial. */
export async function restore(
  { connection, sessions }: Access,
  env: NodeJS.ProcessEnv,
  { former, clients, seen }: Pick<Trial, 'former' | 'clients' | 'seen'>,
): Promise<void> {
  if (former) await load(connection, former, sessions, withoutRevoked(env, clients, seen));
  else await unload(connection);
}
