import { type Hold, holdText, type RunningSupervisor, readHold, runningSupervisor } from '../host/hold.ts';
import { readTrial } from '../trial/notes.ts';

/** What is about our table on this host, besides what is in the kernel; as `status --json` has it. */
export interface Standing {
  /** The supervisor of this network; null where none runs. */
  readonly supervisor: RunningSupervisor | null;
  readonly hold: Hold | null;
  /** What is being tried, the file itself where there is no candidate, and when it is undone; null also where it cannot be read. */
  readonly trial: { readonly candidate: string; readonly until: string } | null;
}

export function readStanding(env: NodeJS.ProcessEnv): Standing {
  return {
    supervisor: runningSupervisor(env) ?? null,
    hold: readHold(env) ?? null,
    trial: trialHere(env),
  };
}

/** Its notes are for root alone, and of the version that began it. */
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
    ...(hold ? [`held: ${holdText(hold)}`] : []),
  ];
}
