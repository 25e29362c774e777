import { announceSupervisor, pidPath, retractSupervisor, writeTroubles } from '../host/hold.ts';
import type { Trouble } from './status-line.ts';
import { signature } from './watch.ts';

/**
 * The notes in the runtime folder, for other commands: that a supervisor runs, and its troubles. A command that does not know of us
 * changes the kernel without a hold, and we change it back.
 */
export class Notes {
  readonly #env: NodeJS.ProcessEnv;
  readonly #path: string;
  readonly #warn: (message: string) => void;
  /** Of the note that says that we run, since others may remove it; empty if there is none. */
  #announced = '';
  /** The troubles that are written down; undefined if we do not know them. */
  #written: string | undefined;
  #failure: Trouble | undefined;

  constructor(env: NodeJS.ProcessEnv, path: string, warn: (message: string) => void) {
    this.#env = env;
    this.#path = path;
    this.#warn = warn;
  }

  /** Why other commands cannot know of us now. */
  get trouble(): Trouble | undefined {
    return this.#failure;
  }

  /** Writes down what changed; `now` is as `monotonic` counts. If that fails, a later call tries again. */
  leave(troubles: readonly Trouble[], now: number): void {
    const passed = Date.now() - now;
    const what = troubles.map(trouble => trouble.what).join('\n');
    try {
      if (!this.#announce()) return;
      if (what !== this.#written)
        writeTroubles(
          this.#env,
          troubles.map(trouble => ({ ...trouble, since: trouble.since + passed })),
        );
      this.#written = what;
      this.#failure = undefined;
    } catch (error) {
      this.#failed(error instanceof Error ? error.message : String(error), now);
    }
  }

  /** Returns whether we are the supervisor that is known. */
  #announce(): boolean {
    const path = pidPath(this.#env);
    if (this.#announced !== '' && this.#announced === signature(path)) return true;
    this.#announced = '';
    this.#written = undefined;
    if (!announceSupervisor(this.#env, this.#path)) return false;
    this.#announced = signature(path);
    return true;
  }

  #failed(message: string, now: number): void {
    const what = `other commands cannot know that a supervisor runs: ${message}`;
    if (this.#failure?.what !== what) this.#warn(`${what}; trying again`);
    this.#failure = { what, since: this.#failure?.since ?? now };
  }

  retract(): void {
    retractSupervisor(this.#env);
  }
}
