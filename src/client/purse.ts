import { setTimeout as delay } from 'node:timers/promises';
import { deriveToken, type TokenKey, windowAt } from '../token/derive.ts';
import { stateFolder } from './folders.ts';
import type { Line } from './queue.ts';
import { idOf, nextWindow, type Used, UsedFile, type Way } from './used.ts';

/** The tokens of one device for one service. It gives each once. Only a process that has the turn of `line` may take one. */
export class Purse {
  readonly line: Line;
  readonly #key: TokenKey;
  readonly #file: UsedFile;
  readonly #tell: (text: string) => void;
  #used: Partial<Used>;

  constructor(env: NodeJS.ProcessEnv, key: TokenKey, tell: (text: string) => void) {
    this.line = { folder: stateFolder(env), keys: [`token_${idOf(key)}`] };
    this.#key = key;
    this.#file = new UsedFile(env, key);
    this.#tell = tell;
    this.#used = this.#file.read();
  }

  /** How and where a token last opened the port. */
  get last(): Pick<Partial<Used>, 'way' | 'address'> {
    return this.#used;
  }

  /** Whether the last token's opening may still be open. */
  get isRecent(): boolean {
    return (this.#used.window ?? 0) >= windowAt(Date.now());
  }

  /** Reads again which tokens are used. Call it when the turn has come. Says whether another process has used one since. */
  look(): boolean {
    const { window } = this.#used;
    this.#used = this.#file.read();
    return this.#used.window !== window;
  }

  /**
   * The next token, written down as used. If the tokens for now are used up, it calls `onWait` with the time of the next one, in
   * milliseconds of the epoch, and waits. Rejects with an AbortError.
   */
  async take(signal: AbortSignal, onWait: (until: number) => void): Promise<string> {
    let next = nextWindow(this.#used.window, Date.now());
    while (Date.now() < next.from) {
      onWait(next.from);
      await delay(next.from - Date.now(), undefined, { signal });
      next = nextWindow(this.#used.window, Date.now()); // the machine may have slept for hours
    }
    const { window } = next;
    this.#write({ ...this.#used, window });
    return deriveToken(this.#key, window);
  }

  /** Writes down how the last token opened the port, so that the next opening begins with that. */
  opened(way: Way, address: string): void {
    if (this.#used.window !== undefined) this.#write({ window: this.#used.window, way, address });
  }

  #write(used: Used): void {
    this.#used = used;
    try {
      this.#file.write(used);
    } catch (error) {
      const code = error instanceof Error && 'code' in error ? error.code : error;
      this.#tell(
        `which tokens are used cannot be written to ${this.#file.path} (${code}); one may be sent twice`,
      );
    }
  }
}
