import { runtimeFolder } from '../host/hold.ts';
import { stateFolder } from '../host/last-good.ts';
import { SILENT, wayTo } from '../host/mounts.ts';
import type { Watches } from './watch.ts';

/** Warns of a file that does not answer. The other duties go on meanwhile. */
export class Silence {
  readonly #files: Watches;
  readonly #warn: (message: string) => void;
  readonly #answered: () => void;
  /** The file that was warned of. */
  #silent: string | undefined;

  /** `answered` is called when it answers again. */
  constructor(files: Watches, warn: (message: string) => void, answered: () => void) {
    this.#files = files;
    this.#warn = warn;
    this.#answered = answered;
  }

  /** To be called once a second; `now` is as `monotonic` counts. */
  look(now: number): void {
    const path = this.#files.silent(now)?.path;
    if (path === this.#silent) return;
    this.#silent = path;
    if (path === undefined) this.#answered();
    else this.#warn(`${path}: ${SILENT}; a change there does not count until it does`);
  }
}

/** Warnings of the supervisor's own folders, for which it waits if their file system hangs. */
export function waitsFor(env: NodeJS.ProcessEnv): readonly string[] {
  return [runtimeFolder(env), stateFolder(env)].flatMap(folder =>
    folder !== undefined && wayTo(folder).isAway
      ? [`${folder} is on a file system that may hang: the supervisor then waits for it`]
      : [],
  );
}
