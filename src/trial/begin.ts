// trial/ loads a candidate that undoes itself unless somebody confirms it, by a command or by a knock.
// The undoer is ready before the candidate is loaded.
// Floor 6: it imports only from rooms on lower floors.

import type { Config } from '../config/types.ts';
import { apply, loadWarnings } from '../feeder/apply.ts';
import { type Access, withKernel } from '../host/access.ts';
import { monotonic } from '../host/clock.ts';
import { bringBackHold, readHold, writeHold } from '../host/hold.ts';
import { ownNetwork } from '../host/network.ts';
import { startOf } from '../host/proc.ts';
import type { Session } from '../host/sessions.ts';
import type { Connection } from '../netlink/connection.ts';
import { NetlinkError } from '../netlink/errors.ts';
import type { Ruleset } from '../nftables/ruleset.ts';
import { ANY_GENERATION, commit } from '../nftables/transaction.ts';
import { compile } from '../ruleset/compile.ts';
import { type Difference, differences } from '../ruleset/describe.ts';
import { decompile } from '../ruleset/program.ts';
import { knownClients } from '../table/clients.ts';
import { TrialError } from '../table/errors.ts';
import { planLoad } from '../table/load.ts';
import { plan } from '../table/plan.ts';
import { readAtOnce, withState } from '../table/read.ts';
import { type Claim, newTrialId, refuseSecondTrial, type Trial, writeStart, writeTrial } from './notes.ts';
import { restore } from './settle.ts';
import { rememberUnconfirmed } from './unconfirmed.ts';
import { armUndo, type Undoer } from './undoer.ts';
import { sessionId } from './visits.ts';
import { beginWitness, type Start } from './witness.ts';

/** A trial that is asked for. */
interface Attempt {
  readonly config: Config;
  readonly bytes: Uint8Array;
  /** The configuration that it is for, and the candidate's file, as absolute paths; null for a trial in place. */
  readonly path: string;
  readonly candidate: string | null;
  /** How long the trial lasts, in milliseconds. */
  readonly duration: number;
  /** The connection that the trial is begun over, if there is one. */
  readonly login: Session | undefined;
}

export interface Begun {
  readonly trial: Trial;
  readonly start: Start;
  readonly undoer: Undoer;
  /** How many running connections were put on record. */
  readonly sessions: number;
  readonly changes: readonly Difference[];
  /** Messages about elements and tokens that could not be carried over, or fed to the kernel. */
  readonly warnings: readonly string[];
}

/** A hold outlasts the undo by this many milliseconds. If the undo fails, the supervisor then goes back to the file. */
const GRACE = 10_000;

/**
 * Loads a candidate, once everything that can undo it is ready. Undefined if the kernel has that configuration already.
 * Throws {@link TrialError}, and what {@link apply} throws. After an error nothing is changed.
 */
export async function beginTrial(env: NodeJS.ProcessEnv, attempt: Attempt): Promise<Begun | undefined> {
  refuseSecondTrial(env);
  return withKernel(async access => {
    const { connection, sessions } = access;
    const { config, bytes, path, candidate, duration, login } = attempt;
    const wanted = compile(config);
    const seen = monotonic();
    const kernel = await readAtOnce(connection);
    const { changes, before } = await planLoad(connection, kernel, wanted, async () => []);
    if (changes.length === 0) return undefined;
    if (before) await refuseIrrevocable(connection, before);
    const id = newTrialId();
    const undoer = await armUndo({ id, delay: duration, config: path }, env);
    let claim: Claim | undefined;
    try {
      const trial: Trial = {
        id,
        network: ownNetwork(),
        config: path,
        candidate,
        bytes,
        former: before ?? null,
        clients: before ? knownClients(await withState(connection, before), monotonic()) : [],
        seen,
        stateFolder: env.STATE_DIRECTORY ?? null,
        hold: readHold(env) ?? null,
        sessions: (await sessions()).map(sessionId),
        until: Date.now() + duration,
        ends: monotonic() + duration,
        by: { pid: process.pid, start: startOf(process.pid) ?? null },
        start: null,
      };
      claim = writeTrial(env, trial);
      if (candidate === null) rememberUnconfirmed(env, bytes);
      writeHold(env, {
        reason: `trying ${candidate ?? path}`,
        until: trial.until + GRACE,
        lasts: { from: trial.ends - duration, to: trial.ends + GRACE },
      });
      const loaded = await apply(access, config, { env });
      const changes = loaded.before ? differences(decompile(loaded.before), decompile(wanted)) : [];
      const start = await beginWitness(connection, loaded.before, wanted, {
        changes,
        login,
        sessions: trial.sessions,
      });
      if (!writeStart(env, claim, { former: loaded.before ?? null, start }))
        throw new TrialError('loading took longer than the trial was to last: use a longer --for');
      return { trial, start, undoer, sessions: loaded.sessions, changes, warnings: loadWarnings(loaded) };
    } catch (error) {
      if (claim) await abandon(env, access, claim);
      await undoer.disarm();
      throw error;
    }
  });
}

/** Undoes the trial, even if the undoer did so before and the load then replaced what it had restored. */
async function abandon(env: NodeJS.ProcessEnv, access: Access, { trial, drop }: Claim): Promise<void> {
  await restore(access, env, trial);
  const left = bringBackHold(env, trial.hold ?? undefined);
  if (left !== undefined) throw new TrialError(left); // the undoer goes on trying
  drop({ is: 'undone' });
}

/**
 * Throws {@link TrialError} if the kernel would not take the former ruleset again, because another program put something into
 * our table that this one cannot make. The kernel is asked to check a table beside ours.
 */
async function refuseIrrevocable(connection: Connection, former: Ruleset): Promise<void> {
  const { name } = former.table;
  const beside: Ruleset = {
    ...former,
    table: { ...former.table, name: `${name}_checked` },
    // packets already go through a chain while it is checked
    chains: former.chains.map(({ hook, ...chain }) => ({
      ...chain,
      ...(hook && { hook: { ...hook, policy: 'accept' } }),
    })),
  };
  try {
    await commit(connection, plan(undefined, beside), { generation: ANY_GENERATION, dryRun: true });
  } catch (error) {
    if (!(error instanceof NetlinkError) || error.code === 'EPERM') throw error;
    throw new TrialError(
      `another program changed table inet ${name} so that an undo could not bring it back (${error.message}): run "knockd-nft load" first`,
    );
  }
}
