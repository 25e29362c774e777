import { rmSync } from 'node:fs';
import { writeWhole } from '../host/files.ts';
import { metricsPath } from '../host/hold.ts';
import type { Sample } from '../metrics/sample.ts';
import { metricsText } from '../metrics/text.ts';

/** How often to write the file if only counters change, in milliseconds. Prometheus mostly asks as often. */
const PERIOD = 15_000;

/** The file that node_exporter's textfile collector reads. It is always whole, and is removed if it is no longer wanted. */
export class MetricsFile {
  readonly #path: string;
  readonly #sample: () => Promise<Sample> | undefined;
  readonly #warn: (message: string) => void;
  #isWanted = false;
  #next = 0;
  #busy = false;
  #failure: string | undefined;

  /** `sample` gives undefined while the kernel cannot be asked, which is reported elsewhere. */
  constructor(
    env: NodeJS.ProcessEnv,
    sample: () => Promise<Sample> | undefined,
    warn: (message: string) => void,
  ) {
    this.#path = metricsPath(env);
    this.#sample = sample;
    this.#warn = warn;
  }

  /** Whether the configuration in force wants it. */
  want(isWanted: boolean): void {
    if (this.#isWanted && !isWanted) this.remove();
    this.#isWanted = isWanted;
    this.soon();
  }

  /** Something changed, so the next look writes the file. */
  soon(): void {
    this.#next = 0;
  }

  /** To be called once a second; `now` is as `monotonic` counts. */
  look(now: number): void {
    if (!this.#isWanted || this.#busy || now < this.#next) return;
    const sample = this.#sample();
    if (!sample) return;
    this.#next = now + PERIOD;
    this.#busy = true;
    void this.#write(sample)
      .then(
        () => {
          this.#failure = undefined;
        },
        error => {
          if (!this.#isWanted) return; // the supervisor stops, and asks the kernel nothing more
          const message = error instanceof Error ? error.message : String(error);
          if (message !== this.#failure) this.#warn(`metrics cannot be written: ${message}; trying again`);
          this.#failure = message;
        },
      )
      .finally(() => {
        this.#busy = false;
      });
  }

  async #write(sample: Promise<Sample>): Promise<void> {
    const text = metricsText(await sample, 'prometheus');
    if (this.#isWanted) writeWhole(this.#path, text, { mode: 0o644 }); // node_exporter is another user
  }

  /** Also removes the file of a supervisor that was killed. */
  remove(): void {
    this.#isWanted = false;
    try {
      rmSync(this.#path, { force: true });
    } catch {}
  }
}
