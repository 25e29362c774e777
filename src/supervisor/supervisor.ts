import { setTimeout } from 'node:timers/promises';
import { formatProblem } from '../config/problems.ts';
import type { Log } from '../config/types.ts';
import { monotonic } from '../host/clock.ts';
import { endHold, holdText, readHoldOr } from '../host/hold.ts';
import { lastGoodPath } from '../host/last-good.ts';
import { SILENT, wayTo } from '../host/mounts.ts';
import type { LoggedPacket } from '../netlink/nflog.ts';
import { count } from '../ruleset/describe.ts';
import type { KnownClient } from '../table/clients.ts';
import { putBack, type StillIn } from '../table/put-back.ts';
import { withoutRevoked } from '../table/revocations.ts';
import { unconfirmedPath } from '../trial/unconfirmed.ts';
import { Around } from './around.ts';
import { Clients } from './clients.ts';
import { Events } from './events.ts';
import type { Kept } from './former.ts';
import { Generation } from './generation.ts';
import { heard } from './heard.ts';
import { decide, type Effect, type Event } from './intent.ts';
import { type LoadOutcome, runJob } from './job.ts';
import { type Journal, logOf, openJournal } from './journal.ts';
import { Keeping } from './keeping.ts';
import { type Notify, openNotify } from './notify.ts';
import { refuseUnlessPermitted } from './permitted.ts';
import { Publisher, type View } from './publisher.ts';
import { Silence, waitsFor } from './silence.ts';
import { first, type Source, type State } from './state.ts';
import {
  tellByHand,
  tellDropped,
  tellHeld,
  tellLoad,
  tellOpened,
  tellProblems,
  tellRefused,
  tellRepair,
} from './tell.ts';
import { Threads } from './threads.ts';
import { Tokens } from './tokens.ts';
import { forgetUnfinished, readUnfinished } from './unfinished.ts';
import { signature, Watches } from './watch.ts';
import { Writes } from './writes.ts';

/** How often to look around, in milliseconds. */
const TICK = 1000;
/** How long a packet may wait in the kernel while we are not stopped, in milliseconds. */
const DELIVERY = 1000;

type WithoutTime<E> = E extends unknown ? Omit<E, 'now' | 'hold' | 'isFileNew'> : never;

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
  /** Of the last load; undefined if another one failed since, which may have changed the table. */
  #former: Kept | undefined;
  readonly #clients = new Clients();
  readonly #around = new Around(text => this.#journal.note('warn', text));
  readonly #events = new Events(packet => this.#report(packet));
  readonly #writes = new Writes(
    () => (this.#state.job || this.#state.hold ? undefined : this.#state.inForce?.generation),
    generation => this.#happens({ is: 'wrote', generation }),
  );
  readonly #tokens: Tokens;
  readonly #publisher: Publisher;
  /** Events that were lost since the start. */
  #lost = 0;
  /** The configuration, its files of secrets, and the one that says whether it was confirmed. */
  readonly #files = new Watches(() => this.#happens({ is: 'changed' }));
  readonly #threads = new Threads(() => this.#answered());
  readonly #silence = new Silence(
    this.#files,
    text => this.#journal.note('warn', text),
    () => this.#answered(),
  );
  readonly #generation = new Generation(
    () => this.#state.inForce?.table,
    told => this.#happens(told),
    text => this.#journal.note('warn', text),
  );
  /** The last two ticks. We were not stopped then. */
  #ticks: readonly [before: number, last: number] = [0, 0];
  readonly #keeping: Keeping;

  constructor(path: string, env: NodeJS.ProcessEnv) {
    this.#path = path;
    this.#env = env;
    this.#state = first(path);
    this.#keeping = new Keeping(env);
    this.#notify = openNotify(env);
    this.#log = logOf(env);
    this.#publisher = new Publisher(
      path,
      env,
      this.#notify,
      () => this.#view(),
      message => this.#journal.note('warn', message),
    );
    this.#journal = this.#openJournal();
    this.#tokens = new Tokens({
      env,
      writes: this.#writes,
      warn: message => this.#journal.note('warn', message),
      settle: () => this.#events.settle(),
    });
  }

  /** Journal and stream report the same. */
  #openJournal(): Journal {
    return openJournal(this.#log, this.#env, told => this.#publisher.tell(told));
  }

  /** Runs until SIGTERM or SIGINT, and returns the exit status. Throws only if it is not permitted. */
  async run(): Promise<number> {
    const stopped = new Promise<void>(resolve => {
      for (const signal of ['SIGTERM', 'SIGINT'] as const) process.once(signal, () => resolve());
    });
    process.on('SIGHUP', () => this.#reload());
    await refuseUnlessPermitted();
    for (const warning of waitsFor(this.#env)) this.#journal.note('warn', warning);
    this.#publisher.open();
    const unfinished = readUnfinished(this.#env);
    if (unfinished) this.#clients.goOn(unfinished);
    this.#follow();
    this.#tick();
    const timer = setInterval(() => {
      this.#files.look();
      this.#tick();
    }, TICK);
    await stopped;
    clearInterval(timer);
    this.#files.follow([]);
    this.#events.close();
    this.#writes.close();
    this.#generation.close();
    this.#notify.send('STOPPING=1');
    this.#journal.tell('stopped', 'stopped: the table stays, and the kernel goes on guarding');
    this.#publisher.close();
    return 0;
  }

  /** `secrets` are the files of secrets that were read, and how each looked then. */
  #follow(secrets: ReadonlyMap<string, string> = new Map()): void {
    const unconfirmed = unconfirmedPath(this.#env);
    const beside = unconfirmed === undefined ? [] : [unconfirmed];
    this.#files.follow([this.#path, ...beside, ...secrets.keys()], secrets);
  }

  #happens(event: WithoutTime<Event>, load?: LoadOutcome): void {
    const now = monotonic();
    const hold = readHoldOr(this.#env, this.#state.hold);
    const { state, effects } = decide(this.#state, { ...event, now, hold, isFileNew: this.#files.isNew });
    this.#state = state;
    for (const effect of effects) this.#carryOut(effect, load);
    this.#publisher.show(now);
  }

  #carryOut(effect: Effect, load: LoadOutcome | undefined): void {
    switch (effect.do) {
      case 'load':
        void this.#load(effect.source);
        break;
      case 'hurry':
        this.#threads.hurry();
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
        void setTimeout(Math.max(0, effect.at - monotonic())).then(() => this.#look());
        break;
      case 'ready':
        this.#notify.send('READY=1', `STATUS=${this.#publisher.statusLine(monotonic())}`);
    }
  }

  #reload(): void {
    const now = process.hrtime.bigint() / 1000n;
    this.#notify.send('RELOADING=1', `MONOTONIC_USEC=${now}`);
    const hold = readHoldOr(this.#env, this.#state.hold); // it may have come since the last look
    // a `try` ends by itself
    const left = hold?.until === null ? endHold(this.#env) : hold && `not reloaded: ${holdText(hold)}`;
    if (left !== undefined) this.#journal.note('warn', left);
    this.#happens({ is: 'reload' });
  }

  async #load(source: Source): Promise<void> {
    const path = source === 'last good' ? lastGoodPath(this.#env) : this.#path;
    if (path === undefined) {
      this.#nextTurn({ is: 'invalid', problems: [], missing: true });
      return;
    }
    // a load of the file reads its secrets in a thread; the file may not need one that hangs any more
    const isSilent = !(await this.#files.answer(source === 'file' ? [path] : undefined));
    if (isSilent && source === 'file') {
      this.#happens({ is: 'failed', message: SILENT });
      return;
    }
    if (source === 'in force' && this.#files.isAway && this.#files.isNew) {
      this.#happens({ is: 'held' }); // by that new file
      return;
    }
    const begun = monotonic();
    const seen = wayTo(path).isAway ? undefined : signature(path);
    const watched = await this.#tokens.settled();
    const at = this.#state.inForce?.generation;
    const outcome = await runJob(
      {
        source: source === 'in force' && this.#loaded ? { bytes: this.#loaded.bytes, path } : { path },
        known: this.#clients.known(),
        prefix: this.#loaded?.prefix,
        keepAt: source === 'file' ? lastGoodPath(this.#env) : undefined,
        watched,
        former: this.#former && at !== undefined ? { ...this.#former, generation: at } : undefined,
        begun,
        seen,
      },
      this.#threads,
    );
    this.#former = undefined;
    if (outcome.is === 'invalid' && source === 'file') this.#follow(outcome.secrets);
    if (outcome.is !== 'loaded') {
      this.#tokens.lost(); // it may have taken them out before it failed
      this.#happens(outcome);
      return;
    }
    const { event, replaced, generation, table, services, log } = outcome.load;
    const names = [...services.keys()];
    const onlyEvents = names.filter(name => services.get(name)?.openFor === null);
    const inForce = { generation, table, services: names, events: onlyEvents, group: log.group };
    await this.#events.listen(log.group); // a reader of "loaded" may knock at once; `listen` reports if it fails
    const unchanged = event === 'unchanged' && !replaced;
    this.#happens({ is: 'loaded', inForce, unchanged }, outcome.load);
  }

  #nextTurn(event: WithoutTime<Event>): void {
    setImmediate(() => this.#happens(event));
  }

  #accept(load: LoadOutcome, { source, as }: Effect & { readonly do: 'accept' }): void {
    this.#loaded = load;
    this.#former = load.former;
    forgetUnfinished(this.#env);
    if (load.handle !== this.#clients.table)
      void this.#putBack(load.table, this.#clients.recent, this.#clients.seen);
    this.#clients.replace(load.clients, load.begun, load.handle);
    this.#publisher.wantMetrics(load.metrics);
    this.#tokens.fed(load.tokens, load.feeding, monotonic());
    if (source === 'file') this.#follow(load.secrets);
    if (load.log.level !== this.#log.level || load.log.format !== this.#log.format) {
      this.#log = load.log;
      this.#journal = this.#openJournal();
    }
    if (source === 'file') {
      for (const warning of [...load.warnings, ...load.notKept])
        this.#journal.note('warn', formatProblem(warning));
      this.#keeping.tried(load.notKept.length === 0, monotonic());
    }
    if (as === 'load') {
      tellLoad(this.#journal, load);
      this.#around.begin(load.interfaces, load.interfaceTroubles, monotonic());
    } else if (load.event !== 'unchanged' || load.replaced)
      tellRepair(this.#journal, load, this.#clients.size);
    tellDropped(this.#journal, load);
    void tellByHand(this.#journal, load);
  }

  /**
   * A load does not know clients that came in after it began, by a table that another program then removed or replaced. Each of
   * `recent` came after the time `seen`, and may have been revoked long before the load.
   */
  async #putBack(table: string, recent: readonly KnownClient[], seen: number): Promise<void> {
    if (recent.length === 0) return;
    const stillIn: StillIn = clients => withoutRevoked(this.#env, clients, seen);
    try {
      await this.#writes.run(writer => putBack(writer, table, recent, stillIn));
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
    const what = heard(packet, load, this.#ticks[0] - DELIVERY);
    if (what?.is === 'used') this.#tokens.used(what.use);
    else if (what?.is === 'refused') tellRefused(this.#journal, what);
    else if (what && load) {
      tellOpened(this.#journal, load, what.client);
      if (what.lasts) this.#clients.opened(what.client, what.latest);
    }
  }

  #tick(): void {
    const now = monotonic();
    this.#ticks = [this.#ticks[1], now];
    this.#notify.live(now);
    this.#clients.forgetExpired(now);
    const lost = this.#events.takeLost();
    if (lost > 0) this.#tokens.lost();
    this.#lost += lost;
    this.#tokens.tick(now);
    if (lost > 0) this.#journal.tell('lost', `lost ${count(lost, 'event')}`, { count: lost }, 'warn');
    this.#silence.look(now);
    void this.#around.look(now);
    this.#look();
    this.#publisher.look(now);
    this.#keeping.look(this.#loaded?.bytes, now);
  }

  /** What failed for want of an answer need not wait for its next try. */
  #answered(): void {
    if (this.#state.file.is === 'failed') this.#happens({ is: 'answered' });
  }

  #look(): void {
    this.#happens({ is: 'tick', isSame: this.#generation.isTrusted(monotonic()) });
  }

  #view(): View {
    return {
      state: this.#state,
      load: this.#loaded,
      clients: this.#clients,
      tokens: this.#tokens.standing,
      nowhere: this.#around.isNowhere,
      unkept: this.#keeping.isFailing,
      silent: this.#files.silent(monotonic()),
      lost: this.#lost,
      connection: this.#generation.connection,
    };
  }
}
