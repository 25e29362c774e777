import { type RunningSupervisor, readHold, runningSupervisor } from '../host/hold.ts';
import { readTrial } from '../trial/notes.ts';

/** Our table's surroundings on this host, in the form of `status --json`. */
interface Standing {
  /** The supervisor of this network; null if none runs. */
  readonly supervisor: RunningSupervisor | null;
  /** Why the kernel is left as it is, and when that ends by itself; null if only a load ends it. */
  readonly hold: { readonly reason: string; readonly until: string | null } | null;
  /** The candidate of a trial, or the file itself, and when the trial is undone; null also if its notes cannot be read. */
  readonly trial: { readonly candidate: string; readonly until: string } | null;
}

export function readStanding(env: NodeJS.ProcessEnv): Standing {
  const hold = readHold(env);
  return {
    supervisor: runningSupervisor(env) ?? null,
    hold: hold
      ? { reason: hold.reason, until: hold.until === null ? null : new Date(hold.until).toISOString() }
      : null,
    trial: trialHere(env),
  };
}

/** Only root may read a trial's notes, and only the version that began it understands them. */
function trialHere(env: NodeJS.ProcessEnv): Standing['trial'] {
  try {
    const trial = readTrial(env);
    if (!trial) return null;
    return { candidate: trial.candidate ?? trial.config, until: new Date(trial.until).toISOString() };
  } catch {
    return null;
  }
}

export function standingLines({ supervisor, hold, trial }: Standing): string[] {
  return [
    supervisor
      ? `supervisor: process ${supervisor.pid} follows ${supervisor.config}`
      : 'supervisor: none runs, so no program follows the file, or puts the table back if it goes',
    ...(trial
      ? [
          `trial: ${trial.candidate}, until ${trial.until}: "knockd-nft confirm" keeps it, "knockd-nft undo" goes back`,
        ]
      : []),
    ...(hold ? [`held: ${hold.reason}${hold.until === null ? '' : `, until ${hold.until}`}`] : []),
  ];
}
