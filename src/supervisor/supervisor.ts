import { setTimeout } from 'node:timers/promises';
import type { Problem } from '../config/problems.ts';
import { formatProblem } from '../config/problems.ts';
import type { Log } from '../config/types.ts';
import { monotonic } from '../host/clock.ts';
import { announceSupervisor, endHold, holdText, readHold } from '../host/hold.ts';
import { lastGoodPath } from '../host/last-good.ts';
import { Connection } from '../netlink/connection.ts';
import type { LoggedPacket } from '../netlink/nflog.ts';
import { readGeneration } from '../netlink/nfnetlink.ts';
import { NETLINK_NETFILTER, openSocket } from '../netlink/socket.ts';
import { clientText } from '../ruleset/client.ts';
import { count } from '../ruleset/describe.ts';
import { masked } from '../ruleset/match.ts';
import type { KnownClient } from '../table/clients.ts';
import { type ByHand, Clients } from './clients.ts';
import { Events } from './events.ts';
import { type LoadOutcome, type Outcome, runJob } from './job.ts';
import { type Journal, openJournal } from './journal.ts';
import { type Notify, openNotify } from './notify.ts';
import { Repairs } from './repairs.ts';
import { tellByHand, tellLoad, tellOpened, tellProblems, tellRepair } from './tell.ts';
import { watchPath } from './watch.ts';

/** How often to look whether somebody changed the ruleset, in milliseconds. */
const TICK = 1000;
/** How long a file may be invalid without a word about it, in milliseconds. */
const HALF_WRITTEN = 100;
/** Ticks between attempts to get an NFLOG group that another program has. */
const EVENTS_RETRY = 30;

/** Why there is something to load. The file comes before all, since it may be newer than what was loaded. */
type Reason = 'file' | 'kernel';

/**
 * Keeps kernel and file in step. Whatever happens to it, the table stays: the kernel goes on guarding and knocking.
 *
 * Loads run one after the other, each in a thread; reasons that come up meanwhile wait, and the last one wins.
 */
export class Supervisor {
  readonly #path: string;
  readonly #env: NodeJS.ProcessEnv;
  readonly #notify: Notify;
  #journal: Journal;
  #log: Log | undefined;
  #loaded: LoadOutcome | undefined;
  /** When the last load began. */
  #begun = 0;
  /** What is wrong with the file as it is; undefined where it is in force. */
  #wrong: string | undefined;
  readonly #clients = new Clients();
  readonly #events = new Events({
    packet: packet => this.#report(packet),
    taken: group =>
      this.#journal.note('warn', `NFLOG group ${group} is held by another program: events are not reported`),
  });
  #reason: Reason | undefined;
  /** Settles when nothing is left to load. */
  #loading: Promise<void> | undefined;
  #held = false;
  #status = '';
  #ticks = 0;
  readonly #repairs = new Repairs();
  #stop: (() => void) | undefined;

  constructor(path: string, env: NodeJS.ProcessEnv) {
    this.#path = path;
    this.#env = env;
    this.#notify = openNotify(env);
    this.#journal = openJournal({ level: 'info', format: 'auto' }, env);
  }

  /** Runs until SIGTERM or SIGINT, and returns the exit status. */
  async run(): Promise<number> {
    const stopped = new Promise<void>(resolve => {
      this.#stop = resolve;
    });
    process.once('SIGTERM', () => this.#stop?.());
    process.once('SIGINT', () => this.#stop?.());
    process.on('SIGHUP', () => this.#reload());
    const retract = announceSupervisor(this.#env, this.#path);
    const generation = new Connection(openSocket(NETLINK_NETFILTER));
    try {
      await readGeneration(generation); // fails here and now where it is not permitted
      const watch = watchPath(this.#path, () => this.#want('file'));
      this.#want('file');
      await this.#loading;
      const timer = setInterval(() => {
        watch.look();
        this.#tick(generation).catch(error => this.#tellFailure(error));
      }, TICK);
      await stopped;
      clearInterval(timer);
      watch.close();
    } finally {
      this.#events.close();
      generation.close();
      retract();
    }
    this.#notify.send('STOPPING=1');
    this.#journal.tell('stopped', 'stopped: the table stays, and the kernel goes on guarding and knocking');
    return 0;
  }

  #reload(): void {
    const now = process.hrtime.bigint() / 1000n;
    this.#notify.send('RELOADING=1', `MONOTONIC_USEC=${now}`);
    if (readHold(this.#env)?.until === null) endHold(this.#env); // a `try` ends by itself
    this.#want('file');
  }

  /** Loads as soon as no other load is under way. */
  #want(reason: Reason): void {
    if (this.#reason !== 'file') this.#reason = reason;
    this.#loading ??= this.#loadAll();
  }

  async #loadAll(): Promise<void> {
    while (this.#reason) {
      const reason = this.#reason;
      this.#reason = undefined;
      await this.#load(reason);
      this.#notify.send('READY=1', `STATUS=${this.#statusLine()}`);
    }
    this.#loading = undefined;
  }

  async #load(reason: Reason): Promise<void> {
    const hold = readHold(this.#env);
    this.#tellHold(hold?.reason, hold?.until ?? null);
    if (hold) return;
    const inForce = this.#loaded?.bytes;
    const source =
      reason === 'kernel' && inForce ? { bytes: inForce, path: this.#path } : { path: this.#path };
    await this.#settle(await this.#runJob(source), reason);
  }

  #runJob(source: { readonly path: string; readonly bytes?: Uint8Array }): Promise<Outcome> {
    const { bytes, path } = source;
    this.#begun = monotonic();
    return runJob({
      source: bytes ? { bytes, path } : { path },
      remembered: this.#clients.all(),
      seen: this.#clients.seen,
      keepAt: bytes ? undefined : lastGoodPath(this.#env),
    }).catch(error => ({ is: 'failed', message: error instanceof Error ? error.message : String(error) }));
  }

  async #settle(outcome: Outcome, reason: Reason): Promise<void> {
    if (outcome.is === 'loaded') {
      await this.#accept(outcome.load, reason);
      return;
    }
    if (outcome.is === 'held') {
      this.#want(reason);
      return;
    }
    if (outcome.is === 'failed') {
      this.#wrong = outcome.message;
      this.#journal.note('error', `cannot load ${this.#path}: ${outcome.message}`);
      return;
    }
    // somebody may be in the middle of writing it
    await setTimeout(HALF_WRITTEN);
    if (this.#reason === 'file') return;
    this.#tellProblems(outcome.problems);
    if (!this.#loaded) await this.#fallBack();
  }

  /** A bad file changes nothing; where nothing is in force yet, the last good one is better than open ports. */
  async #fallBack(): Promise<void> {
    const path = lastGoodPath(this.#env);
    const outcome = path === undefined ? undefined : await this.#runJob({ path });
    if (outcome?.is !== 'loaded') {
      this.#journal.note(
        'error',
        `nothing can be loaded: ${this.#path} is not valid, and no earlier one is kept`,
      );
      return;
    }
    this.#journal.note(
      'error',
      `${this.#path} is not valid: the last good configuration is in force instead`,
    );
    await this.#accept(outcome.load, 'kernel');
  }

  async #accept(load: LoadOutcome, reason: Reason): Promise<void> {
    const before = this.#loaded;
    this.#loaded = load;
    if (reason === 'file') this.#wrong = undefined;
    const byHand = this.#clients.replace(load.clients, this.#begun);
    this.#applyLog(load.log);
    for (const warning of load.warnings)
      if (reason === 'file') this.#journal.note('warn', formatProblem(warning));
    this.#tellLoad(load, reason, before === undefined);
    if (before && load.event !== 'loaded') tellByHand(this.#journal, load, comparable(byHand, before, load));
    await this.#events.listen(load.log.group);
  }

  #tellLoad(load: LoadOutcome, reason: Reason, first: boolean): void {
    if (reason === 'file' || first) {
      tellLoad(this.#journal, load);
    } else if (load.event !== 'unchanged') {
      this.#repairs.happened(monotonic());
      tellRepair(this.#journal, load, this.#clients.size);
    }
  }

  #tellProblems(problems: readonly Problem[]): void {
    const errors = problems.filter(({ severity }) => severity === 'error');
    tellProblems(this.#journal, errors);
    const [first] = errors;
    this.#wrong = first ? formatProblem(first) : 'not valid';
  }

  /** What goes wrong between two loads does not end the supervisor: the next second may be better. */
  #tellFailure(error: unknown): void {
    this.#journal.note('error', error instanceof Error ? error.message : String(error));
  }

  #tellHold(reason: string | undefined, until: number | null): void {
    if (reason !== undefined && !this.#held) {
      const end = until === null ? undefined : new Date(until).toISOString();
      this.#journal.tell(
        'held',
        `held: ${reason}; the kernel is left as it is`,
        { reason, until: end },
        'warn',
      );
    }
    this.#held = reason !== undefined;
  }

  #applyLog(log: Log): void {
    if (log.level === this.#log?.level && log.format === this.#log.format) return;
    this.#log = log;
    this.#journal = openJournal(log, this.#env);
  }

  #report({ family, prefix, mark, source }: LoggedPacket): void {
    const load = this.#loaded;
    const [event, name] = prefix.split(' ');
    const service = load?.services.find(it => it.name === name);
    if (!load || !service) return;
    const length = load.prefix[family];
    const key = masked(source, length);
    const client = clientText(family, key, length);
    if (event === 'refused') {
      this.#journal.tell('refused', `refused ${service.name} for ${client}`, {
        service: service.name,
        client,
      });
      return;
    }
    const { openFor: timeout, singleUse } = service;
    const place = new Map(load.users).has(mark) ? mark : null;
    const until = monotonic() + timeout;
    const known = { service: service.name, family, key, place, timeout, until, granted: false };
    tellOpened(this.#journal, load, known);
    if (!singleUse) this.#clients.opened(known);
  }

  async #tick(generation: Connection): Promise<void> {
    this.#ticks++;
    const now = monotonic();
    if (this.#notify.watchdog !== undefined) this.#notify.send('WATCHDOG=1');
    this.#clients.forgetExpired(now);
    const lost = this.#events.takeLost();
    if (lost > 0) this.#journal.tell('lost', `lost ${count(lost, 'event')}`, { count: lost }, 'warn');
    const status = this.#statusLine();
    if (status !== this.#status) this.#notify.send(`STATUS=${status}`);
    this.#status = status;
    if (this.#ticks % EVENTS_RETRY === 0 && this.#loaded && !this.#events.isOpen)
      await this.#events.listen(this.#loaded.log.group);
    if (this.#loading || !this.#repairs.mayLookAt(now)) return;
    const hold = readHold(this.#env);
    const released = this.#held && !hold;
    this.#tellHold(hold?.reason, hold?.until ?? null);
    if (hold) return;
    if (released) this.#want('file');
    else if (this.#loaded && (await readGeneration(generation)) !== this.#loaded.generation) {
      this.#want('kernel');
    }
  }

  /** One line for `systemctl status`. */
  #statusLine(): string {
    if (this.#held) {
      return `held: ${holdText(readHold(this.#env) ?? { reason: 'not any more', until: null })}`;
    }
    const guarded = this.#loaded
      ? `guarding ${this.#loaded.services.map(({ name }) => name).join(', ') || 'nothing'}; ${this.#clients.size} in`
      : 'nothing is loaded';
    return this.#wrong === undefined
      ? `${guarded}; ${this.#path} is in force`
      : `${guarded}; NOT in force: ${this.#wrong}`;
  }
}

/** Without who is gone because the service is, or counts in another way now. */
function comparable({ granted, revoked }: ByHand, before: LoadOutcome, after: LoadOutcome): ByHand {
  const stays = ({ service, family }: KnownClient) =>
    before.prefix[family] === after.prefix[family] &&
    after.services.some(({ name, singleUse }) => name === service && !singleUse);
  return { granted: granted.filter(stays), revoked: revoked.filter(stays) };
}
