import { resolve } from 'node:path';
import { setTimeout } from 'node:timers/promises';
import { formatProblem } from '../config/problems.ts';
import type { Log } from '../config/types.ts';
import type { Snapshot } from '../events/event.ts';
import { withKernel } from '../host/access.ts';
import { monotonic } from '../host/clock.ts';
import {
  announceSupervisor,
  endHold,
  holdText,
  readHold,
  retractSupervisor,
  writeTroubles,
} from '../host/hold.ts';
import { keepLastGood, lastGoodPath } from '../host/last-good.ts';
import { masked } from '../inet/address.ts';
import type { Sample } from '../metrics/sample.ts';
import type { LoggedPacket } from '../netlink/nflog.ts';
import { clientText } from '../ruleset/client.ts';
import { count } from '../ruleset/describe.ts';
import { USED } from '../ruleset/token-chains.ts';
import type { KnownClient } from '../table/clients.ts';
import { putBack } from '../table/openings.ts';
import { withoutRevoked } from '../table/revocations.ts';
import { tokenOfPacket } from '../token/read.ts';
import { VERSION } from '../version.ts';
import { Around } from './around.ts';
import { Clients } from './clients.ts';
import { cameAt, Events } from './events.ts';
import { Generation } from './generation.ts';
import { decide, type Effect, type Event } from './intent.ts';
import { type LoadOutcome, runJob } from './job.ts';
import { type Journal, logOf, openJournal } from './journal.ts';
import { MetricsFile } from './metrics-file.ts';
import { type Notify, openNotify } from './notify.ts';
import { pauseAfter } from './pauses.ts';
import { refuseUnlessPermitted } from './permitted.ts';
import { takeSample } from './sample.ts';
import { first, type Source, type State } from './state.ts';
import { type Beside, statusLine, troubles } from './status-line.ts';
import { Stream } from './stream.ts';
import {
  clientsNow,
  tellByHand,
  tellDropped,
  tellHeld,
  tellLoad,
  tellOpened,
  tellProblems,
  tellRepair,
} from './tell.ts';
import { Tokens } from './tokens.ts';
import { type Watch, watchPath } from './watch.ts';

/** How often to check whether another program changed the ruleset, in milliseconds. */
const TICK = 1000;
/** How long a packet may wait in the kernel while we are not stopped, in milliseconds. */
const DELIVERY = 1000;

type WithoutTime<E> = E extends unknown ? Omit<E, 'now' | 'hold'> : never;

/**
 * Keeps kernel and file in step. If it ends, the table stays, and the kernel goes on guarding and taking knocks.
 *
 * It hands each event to `decide`, and carries out the effects.
 */
export class Supervisor {
  readonly #path: string;
  readonly #env: NodeJS.ProcessEnv;
  readonly #notify: Notify;
  #state: State;
  #journal: Journal;
  #log: Pick<Log, 'level' | 'format'>;
  #loaded: LoadOutcome | undefined;
  readonly #clients = new Clients();
  readonly #around = new Around(text => this.#journal.note('warn', text));
  readonly #events = new Events(packet => this.#report(packet));
  readonly #tokens: Tokens;
  readonly #stream: Stream;
  readonly #metrics: MetricsFile;
  /** Events that were not heard, since the start. */
  #lost = 0;
  /** The files of secrets. */
  #secrets: { readonly paths: readonly string[]; readonly watches: readonly Watch[] } = {
    paths: [],
    watches: [],
  };
  readonly #generation = new Generation(
    () => this.#state.inForce?.table,
    told => this.#happens(told),
    text => this.#journal.note('warn', text),
  );
  /** The last two ticks. We were not stopped then. */
  #ticks: readonly [before: number, last: number] = [0, 0];
  #status = '';
  /** The notes in the runtime folder; undefined if we do not know them. */
  #notes: string | undefined;
  #announced = false;
  /** How often the loaded configuration could not be kept, and when to try again; undefined if it is kept. */
  #unkept: { readonly times: number; readonly again: number } | undefined;

  constructor(path: string, env: NodeJS.ProcessEnv) {
    this.#path = path;
    this.#env = env;
    this.#state = first(path);
    this.#notify = openNotify(env);
    this.#log = logOf(env);
    this.#stream = new Stream(
      env,
      () => this.#snapshot(),
      message => this.#journal.note('warn', message),
    );
    this.#metrics = new MetricsFile(
      env,
      () => this.#sample(),
      message => this.#journal.note('warn', message),
    );
    this.#journal = this.#openJournal();
    this.#tokens = new Tokens({
      env,
      generation: () => (this.#state.job || this.#state.hold ? undefined : this.#state.inForce?.generation),
      wrote: generation => {
        if (generation !== undefined) this.#happens({ is: 'wrote', generation });
      },
      warn: message => this.#journal.note('warn', message),
      settle: () => this.#events.settle(),
    });
  }

  /** Journal and stream tell the same. */
  #openJournal(): Journal {
    return openJournal(this.#log, this.#env, told => this.#stream.tell(told));
  }

  /** Runs until SIGTERM or SIGINT, and returns the exit status. Throws only if it is not permitted. */
  async run(): Promise<number> {
    const stopped = new Promise<void>(resolve => {
      for (const signal of ['SIGTERM', 'SIGINT'] as const) process.once(signal, () => resolve());
    });
    process.on('SIGHUP', () => this.#reload());
    await refuseUnlessPermitted();
    this.#stream.look(monotonic());
    this.#metrics.remove();
    const watch = watchPath(this.#path, () => this.#happens({ is: 'changed' }));
    this.#tick();
    const timer = setInterval(() => {
      watch.look();
      for (const secret of this.#secrets.watches) secret.look();
      this.#tick();
    }, TICK);
    await stopped;
    clearInterval(timer);
    watch.close();
    this.#watchSecrets([]);
    this.#events.close();
    this.#tokens.close();
    this.#generation.close();
    retractSupervisor(this.#env);
    this.#metrics.remove();
    this.#notify.send('STOPPING=1');
    this.#journal.tell('stopped', 'stopped: the table stays, and the kernel goes on guarding');
    this.#stream.close();
    return 0;
  }

  #happens(event: WithoutTime<Event>, load?: LoadOutcome): void {
    const now = monotonic();
    const hold = readHold(this.#env, this.#state.hold);
    const { state, effects } = decide(this.#state, { ...event, now, hold });
    this.#state = state;
    for (const effect of effects) this.#carryOut(effect, load);
    this.#show(now);
  }

  #carryOut(effect: Effect, load: LoadOutcome | undefined): void {
    switch (effect.do) {
      case 'load':
        void this.#load(effect.source);
        break;
      case 'accept':
        if (load) this.#accept(load, effect);
        break;
      case 'tell invalid':
        tellProblems(this.#journal, effect.problems);
        break;
      case 'tell held':
        tellHeld(this.#journal, effect.hold);
        break;
      case 'note':
        this.#journal.note(effect.level, effect.message);
        break;
      case 'ask':
        void this.#generation.ask(effect.anew);
        break;
      case 'listen':
        void this.#listen(effect.group);
        break;
      case 'wake':
        void setTimeout(Math.max(0, effect.at - monotonic())).then(() => this.#happens({ is: 'tick' }));
        break;
      case 'ready':
        this.#notify.send('READY=1', `STATUS=${this.#statusLine(monotonic())}`);
    }
  }

  #watchSecrets(paths: readonly string[]): void {
    if (paths.join('\0') === this.#secrets.paths.join('\0')) return;
    for (const watch of this.#secrets.watches) watch.close();
    const watches = paths.map(path => watchPath(path, () => this.#happens({ is: 'changed' })));
    this.#secrets = { paths, watches };
  }

  #reload(): void {
    const now = process.hrtime.bigint() / 1000n;
    this.#notify.send('RELOADING=1', `MONOTONIC_USEC=${now}`);
    const hold = readHold(this.#env, this.#state.hold); // it may have come since the last look
    if (hold?.until === null) endHold(this.#env);
    else if (hold) this.#journal.note('warn', `not reloaded: ${holdText(hold)}`); // a `try` ends by itself
    this.#happens({ is: 'reload' });
  }

  async #load(source: Source): Promise<void> {
    const path = source === 'last good' ? lastGoodPath(this.#env) : this.#path;
    if (path === undefined) {
      this.#nextTurn({ is: 'invalid', problems: [], missing: true });
      return;
    }
    const watched = await this.#tokens.settled();
    const outcome = await runJob({
      source: source === 'in force' && this.#loaded ? { bytes: this.#loaded.bytes, path } : { path },
      known: this.#clients.known(),
      prefix: this.#loaded?.prefix,
      keepAt: source === 'file' ? lastGoodPath(this.#env) : undefined,
      watched,
    });
    if (outcome.is === 'invalid') this.#watchSecrets(outcome.secretFiles);
    if (outcome.is !== 'loaded') {
      this.#tokens.lost(); // it may have taken them out before it failed
      this.#happens(outcome);
      return;
    }
    const { event, generation, table, services, log } = outcome.load;
    const names = [...services.keys()];
    const onlyEvents = names.filter(name => services.get(name)?.openFor === null);
    const inForce = { generation, table, services: names, events: onlyEvents, group: log.group };
    await this.#events.listen(log.group); // a reader of "loaded" may knock at once; `listen` tells if it fails
    this.#happens({ is: 'loaded', inForce, unchanged: event === 'unchanged' }, outcome.load);
  }

  #nextTurn(event: WithoutTime<Event>): void {
    setImmediate(() => this.#happens(event));
  }

  #accept(load: LoadOutcome, { source, as }: Effect & { readonly do: 'accept' }): void {
    this.#loaded = load;
    if (load.event === 'loaded') void this.#putBack(this.#clients.recent, load.begun);
    this.#clients.replace(load.clients, load.begun);
    this.#metrics.want(load.metrics);
    this.#tokens.fed(load.tokens, load.feeding, monotonic());
    if (source === 'file') this.#watchSecrets(load.secretFiles);
    if (load.log.level !== this.#log.level || load.log.format !== this.#log.format) {
      this.#log = load.log;
      this.#journal = this.#openJournal();
    }
    if (source === 'file') {
      for (const warning of [...load.warnings, ...load.notKept])
        this.#journal.note('warn', formatProblem(warning));
      this.#unkept = load.notKept.length > 0 ? { times: 1, again: monotonic() + pauseAfter(1) } : undefined;
    }
    if (as === 'load') {
      tellLoad(this.#journal, load);
      this.#around.begin(load.interfaces, load.interfaceTroubles, monotonic());
    } else if (load.event !== 'unchanged') tellRepair(this.#journal, load, this.#clients.size);
    tellDropped(this.#journal, load);
    void tellByHand(this.#journal, load);
  }

  /** A load does not know clients that came in after it began, by a table that another program then removed. */
  async #putBack(recent: readonly KnownClient[], begun: number): Promise<void> {
    const stillIn = withoutRevoked(this.#env, recent, begun);
    if (stillIn.length === 0) return;
    try {
      await withKernel(({ connection }) => putBack(connection, stillIn));
    } catch (error) {
      this.#journal.note(
        'warn',
        `clients that came during the load are not let in again: ${error instanceof Error ? error.message : String(error)}`,
      );
    }
  }

  async #listen(group: number): Promise<void> {
    const message = await this.#events.listen(group);
    this.#happens(
      message === undefined ? { is: 'listening', group } : { is: 'not listening', group, message },
    );
  }

  #report(packet: LoggedPacket): void {
    const load = this.#loaded;
    const { family, prefix, mark, source } = packet;
    if (prefix === USED) {
      this.#tokens.used({ place: mark, token: tokenOfPacket(packet.packet) });
      return;
    }
    const [event, name = ''] = prefix.split(' ');
    const service = load?.services.get(name);
    if (!load || !service) return;
    const length = load.prefix[family];
    const key = masked(source, length);
    const client = clientText(family, key, length);
    if (event === 'refused') {
      this.#journal.tell('refused', `refused ${name} for ${client}`, { service: name, client });
      return;
    }
    const { openFor: timeout, singleUse } = service;
    const place = load.users.has(mark) ? mark : null;
    const until = cameAt(packet, this.#ticks[0] - DELIVERY) + (timeout ?? 0);
    const known = { service: name, family, key, place, timeout, until, granted: false };
    tellOpened(this.#journal, load, known);
    if (!singleUse && timeout !== null) this.#clients.opened(known);
  }

  #tick(): void {
    const now = monotonic();
    this.#ticks = [this.#ticks[1], now];
    if (this.#notify.watchdog !== undefined) this.#notify.send('WATCHDOG=1');
    this.#clients.forgetExpired(now);
    const lost = this.#events.takeLost();
    if (lost > 0) this.#tokens.lost();
    this.#lost += lost;
    this.#tokens.tick(now);
    if (lost > 0) this.#journal.tell('lost', `lost ${count(lost, 'event')}`, { count: lost }, 'warn');
    void this.#around.look(now);
    this.#stream.look(now);
    this.#happens({ is: 'tick' });
    this.#metrics.look(now);
    this.#leaveNotes(now);
    if (this.#unkept && this.#unkept.again <= now) this.#keep(this.#unkept.times, now);
  }

  /** For a boot with a bad file. */
  #keep(times: number, now: number): void {
    const path = lastGoodPath(this.#env);
    const isKept = path === undefined || !this.#loaded || keepLastGood(path, this.#loaded.bytes).length === 0;
    this.#unkept = isKept ? undefined : { times: times + 1, again: now + pauseAfter(times + 1) };
  }

  #beside(): Beside {
    const { isNowhere: nowhere } = this.#around;
    const unkept = this.#unkept !== undefined;
    return { tokens: this.#tokens.standing, stream: this.#stream.trouble, nowhere, unkept };
  }

  #statusLine(now: number): string {
    return statusLine(this.#state, { ...this.#beside(), clients: this.#clients.size }, now);
  }

  #snapshot(): Snapshot {
    const now = monotonic();
    const { inForce } = this.#state;
    return {
      event: 'snapshot',
      time: Date.now(),
      version: VERSION,
      file: resolve(this.#path),
      status: this.#statusLine(now),
      table: inForce?.table ?? null,
      services: inForce?.services ?? [],
      ...clientsNow(this.#loaded, this.#clients, now),
      lost: this.#lost,
    };
  }

  #sample(): Promise<Sample> {
    const found = troubles(this.#state, monotonic(), this.#beside()).length;
    const beside = { tokens: this.#tokens.standing, troubles: found, lost: this.#lost };
    return takeSample(this.#generation.connection, this.#state, this.#loaded, this.#clients, beside);
  }

  #show(now: number): void {
    const status = this.#statusLine(now);
    if (status === this.#status) return;
    this.#notify.send(`STATUS=${status}`);
    this.#metrics.soon();
    this.#status = status;
  }

  /** In the runtime folder, for other commands. If that fails, a later tick tries again. */
  #leaveNotes(now: number): void {
    const passed = Date.now() - now;
    const found = troubles(this.#state, now, this.#beside()).map(({ what, since }) => ({
      what,
      since: since + passed,
    }));
    const notes = found.map(({ what }) => what).join('\n');
    try {
      if (!this.#announced) announceSupervisor(this.#env, this.#path);
      this.#announced = true;
      if (notes !== this.#notes) writeTroubles(this.#env, found);
      this.#notes = notes;
    } catch {}
  }
}
