import { resolve } from 'node:path';
import type { Snapshot, Told } from '../events/event.ts';
import type { Fed } from '../feeder/apply.ts';
import { monotonic } from '../host/clock.ts';
import type { Connection } from '../netlink/connection.ts';
import { VERSION } from '../version.ts';
import type { Clients } from './clients.ts';
import type { LoadOutcome } from './job.ts';
import { MetricsFile } from './metrics-file.ts';
import { Notes } from './notes.ts';
import type { Notify } from './notify.ts';
import { takeSample } from './sample.ts';
import type { State } from './state.ts';
import { type Beside, statusLine, troubles } from './status-line.ts';
import { Stream } from './stream.ts';
import { clientsNow } from './tell.ts';

/** The supervisor at this moment, as far as others see it. */
export interface View {
  readonly state: State;
  readonly load: LoadOutcome | undefined;
  readonly clients: Clients;
  readonly tokens: Fed;
  /** No packet comes in by any of the `interfaces`. */
  readonly nowhere: boolean;
  /** The loaded configuration cannot be kept for a boot with a bad file. */
  readonly unkept: boolean;
  /** The file that does not answer, and since when. */
  readonly silent: { readonly path: string; readonly since: number } | undefined;
  /** Events that were lost since the start. */
  readonly lost: number;
  /** To ask the kernel for its counters; undefined if it cannot be asked. */
  readonly connection: Connection | undefined;
}

/**
 * Shows the state to others, so that it is true wherever they look: in the status of the service manager, in the notes for other
 * commands, in the stream of events, and in the metrics.
 */
export class Publisher {
  readonly #path: string;
  readonly #view: () => View;
  readonly #notify: Notify;
  readonly #notes: Notes;
  readonly #stream: Stream;
  readonly #metrics: MetricsFile;
  #status = '';

  constructor(
    path: string,
    env: NodeJS.ProcessEnv,
    notify: Notify,
    view: () => View,
    warn: (message: string) => void,
  ) {
    this.#path = path;
    this.#view = view;
    this.#notify = notify;
    this.#notes = new Notes(env, path, warn);
    this.#stream = new Stream(env, () => this.#snapshot(), warn);
    this.#metrics = new MetricsFile(env, () => this.#sample(), warn);
  }

  open(): void {
    this.#stream.look(monotonic());
    this.#metrics.remove();
  }

  /** An event, for the readers of the stream. */
  tell(told: Told): void {
    this.#stream.tell(told);
  }

  /** Whether the configuration in force wants metrics. */
  wantMetrics(isWanted: boolean): void {
    this.#metrics.want(isWanted);
  }

  /** To be called once a second; `now` is as `monotonic` counts. */
  look(now: number): void {
    this.#stream.look(now);
    this.#metrics.look(now);
    this.#notes.leave(troubles(this.#view().state, now, this.#beside()), now);
  }

  /** To be called when the state may have changed. */
  show(now: number): void {
    const status = this.statusLine(now);
    if (status === this.#status) return;
    this.#notify.send(`STATUS=${status}`);
    this.#metrics.soon();
    this.#status = status;
  }

  statusLine(now: number): string {
    const { state, clients } = this.#view();
    return statusLine(state, { ...this.#beside(), clients: clients.size }, now);
  }

  /** Nobody follows us any more. A load may still be under way, so to other commands we run until the process ends. */
  close(): void {
    process.once('exit', () => this.#notes.retract());
    this.#metrics.remove();
    this.#stream.close();
  }

  #beside(): Beside {
    const { tokens, nowhere, unkept, silent } = this.#view();
    const [stream, notes] = [this.#stream.trouble, this.#notes.trouble];
    return { tokens, stream, notes, nowhere, unkept, silent };
  }

  #snapshot(): Snapshot {
    const now = monotonic();
    const { state, load, clients, lost } = this.#view();
    const { inForce } = state;
    return {
      event: 'snapshot',
      time: Date.now(),
      version: VERSION,
      file: resolve(this.#path),
      status: this.statusLine(now),
      table: inForce?.table ?? null,
      services: inForce?.services ?? [],
      ...clientsNow(load, clients, now),
      lost,
    };
  }

  #sample() {
    const { state, load, clients, tokens, lost, connection } = this.#view();
    if (!connection) return undefined;
    const found = troubles(state, monotonic(), this.#beside()).length;
    return takeSample(connection, state, load, clients, { tokens, troubles: found, lost });
  }
}
