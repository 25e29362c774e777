import { runtimeFolder } from '../host/hold.ts';
import { stateFolder } from '../host/last-good.ts';
import { SILENT, wayTo } from '../host/mounts.ts';
import type { Watches } from './watch.ts';

/** For how long a file has to answer before its next silence is news, in milliseconds. One that is slow falls silent again and again. */
const CALM = 60_000;

/** Warns of a file that does not answer. The other duties go on meanwhile. */
export class Silence {
  readonly #files: Pick<Watches, 'silent'>;
  readonly #warn: (message: string) => void;
  readonly #answered: () => void;
  #isSilent = false;
  /** The file that was silent last, and when. */
  #last: { readonly path: string; readonly at: number } | undefined;

  /** `answered` is called when it answers again. */
  constructor(files: Pick<Watches, 'silent'>, warn: (message: string) => void, answered: () => void) {
    this.#files = files;
    this.#warn = warn;
    this.#answered = answered;
  }

  /** To be called once a second; `now` is as `monotonic` counts. */
  look(now: number): void {
    const path = this.#files.silent(now)?.path;
    const hasAnswered = this.#isSilent && path === undefined;
    this.#isSilent = path !== undefined;
    if (hasAnswered) this.#answered();
    if (path === undefined) return;
    const isNews = this.#last?.path !== path || now - this.#last.at > CALM;
    this.#last = { path, at: now };
    if (isNews) this.#warn(`${path}: ${SILENT}; a change there does not count until it does`);
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
