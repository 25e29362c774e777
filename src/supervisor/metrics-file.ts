import { rmSync } from 'node:fs';
import { writeWhole } from '../host/files.ts';
import { metricsPath } from '../host/hold.ts';
import type { Sample } from '../metrics/sample.ts';
import { metricsText } from '../metrics/text.ts';

/** How often it is written where nothing changes but counters, in milliseconds: as often as Prometheus mostly asks. */
const PERIOD = 15_000;

/** The file that node_exporter's textfile collector reads, whole at any time; gone where nobody wants it, or keeps it. */
export class MetricsFile {
  readonly #path: string;
  readonly #sample: () => Promise<Sample>;
  readonly #warn: (message: string) => void;
  #isWanted = false;
  #next = 0;
  #busy = false;
  #failure: string | undefined;

  constructor(env: NodeJS.ProcessEnv, sample: () => Promise<Sample>, warn: (message: string) => void) {
    this.#path = metricsPath(env);
    this.#sample = sample;
    this.#warn = warn;
  }

  /** What is in force wants it, or does not. */
  want(isWanted: boolean): void {
    if (this.#isWanted && !isWanted) this.remove();
    this.#isWanted = isWanted;
    this.soon();
  }

  /** Something changed: it is written at the next look. */
  soon(): void {
    this.#next = 0;
  }

  /** Once a second; `now` as `monotonic` counts. */
  look(now: number): void {
    if (!this.#isWanted || this.#busy || now < this.#next) return;
    this.#next = now + PERIOD;
    this.#busy = true;
    void this.#write()
      .then(
        () => {
          this.#failure = undefined;
        },
        error => {
          const message = error instanceof Error ? error.message : String(error);
          if (message !== this.#failure) this.#warn(`metrics cannot be written: ${message}; trying again`);
          this.#failure = message;
        },
      )
      .finally(() => {
        this.#busy = false;
      });
  }

  async #write(): Promise<void> {
    const text = metricsText(await this.#sample(), 'prometheus');
    if (this.#isWanted) writeWhole(this.#path, text, { mode: 0o644 }); // node_exporter is another user
  }

  /** Also what a supervisor left that was killed. */
  remove(): void {
    this.#isWanted = false;
    try {
      rmSync(this.#path, { force: true });
    } catch {}
  }
}
