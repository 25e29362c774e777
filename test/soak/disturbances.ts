/** Events that disturb the server: edits, damage by other programs, the end of its supervisor, readers that do not read. */
import { connect, type Socket } from 'node:net';
import { eventsPath } from '../../src/host/hold.ts';
import { until } from '../kernel/loaded.ts';
import type { Running } from '../kernel/process.ts';
import type { Numbers } from '../numbers.ts';
import { environment, flags } from '../supervisor/unit.ts';
import type { File } from './file.ts';
import { pause, type Visited } from './visitors.ts';

/** Damage that others do to our table. Until it is mended, everything may be open. */
const DAMAGE = (table: string): readonly [string, ...string[]] => [
  'flush ruleset',
  `delete table inet ${table}`,
  `flush chain inet ${table} input`,
  `insert rule inet ${table} input accept`,
  `flush map inet ${table} ports`,
  `add table inet ${table} { flags dormant; }`,
];

/** Readers of events that never read: fewer than the supervisor lets in. */
const DEAF = 6;

/** After this time the kernel must be as the file says. It never takes that long. */
const NEVER = 60; // seconds

/** The parts of `status --json` that count. */
interface Standing {
  readonly inSync: boolean | null;
  readonly supervisor: { readonly pid: number } | null;
}

export interface Disturbed extends Visited {
  readonly file: File;
  readonly env: Readonly<Record<string, string>>;
  /** For the supervisor alone. */
  readonly supervisorEnv: Readonly<Record<string, string>>;
}

/** As its unit does. */
function startSupervisor({ world, env, supervisorEnv }: Disturbed): Running {
  const words = [...flags, 'dist/knockd-nft.cjs', '--config', world.configFile, 'run'];
  return world.start('server', process.execPath, words, { ...env, ...environment, ...supervisorEnv });
}

export class Disturber {
  readonly #here: Disturbed;
  readonly #next: Numbers;
  readonly #deaf: Socket[] = [];
  readonly #journal: string[] = [];
  #supervisor: Running;

  private constructor(here: Disturbed, next: Numbers, supervisor: Running) {
    this.#here = here;
    this.#next = next;
    this.#supervisor = supervisor;
  }

  /** Saves the first file, and starts a supervisor. */
  static async begin(here: Disturbed, next: Numbers): Promise<Disturber> {
    const { file, timeline, diary } = here;
    diary.operation('the first file, and a supervisor');
    const settled = timeline.saves(file.rules);
    await file.save();
    const disturber = new Disturber(here, next, startSupervisor(here));
    await disturber.#inForce();
    settled();
    disturber.#connectAllDeaf();
    return disturber;
  }

  /** The output of all supervisors. */
  get journal(): readonly string[] {
    return [...this.#journal, ...this.#supervisor.lines()];
  }

  get supervisor(): Running {
    return this.#supervisor;
  }

  /** One disturbance after the other. `kills` says whether supervisors are ended at that time. */
  async disturb(kills: () => boolean): Promise<void> {
    const { diary } = this.#here;
    while (!diary.ended.aborted) {
      await pause(diary, 500 + this.#next.below(3500));
      if (diary.ended.aborted) break;
      const choice = this.#next.below(20);
      if (choice < 9) await this.#edit();
      else if (choice < 11) await this.#breakFile();
      else if (choice < 13) await this.#damage();
      else if (choice < 16) await this.#others();
      else if (choice < 17) this.#beDeaf();
      else if (kills()) await this.#kill();
      else await this.#hangUp();
    }
    for (const reader of this.#deaf) reader.destroy();
  }

  /** Waits until the kernel has what the file says, all tokens too, under the supervisor that we started. */
  async #inForce(): Promise<void> {
    const { world, env, file, diary } = this.#here;
    const ask = async () => {
      const { stdout, stderr } = await world.knockd(['status', '--json'], { env });
      const tokens = await world.run('server', 'nft', ['list', 'map', 'inet', file.table, 'tokens']);
      return { stdout, stderr, fed: tokens.stdout.includes('expires') };
    };
    const inForce = ({ stdout, fed }: Awaited<ReturnType<typeof ask>>) => {
      if (!stdout || !fed) return false;
      const { inSync, supervisor } = JSON.parse(stdout) as Standing;
      return inSync === true && supervisor?.pid === this.#supervisor.pid;
    };
    await until(ask, inForce, NEVER).catch(error =>
      diary.violation(`the file is not in force: ${error.message}`),
    );
  }

  /** A valid file; now and then at the same time as damage. */
  async #edit(): Promise<void> {
    const { file, timeline, diary } = this.#here;
    const table = file.table;
    const what = file.change();
    const settled = timeline.saves(file.rules);
    diary.operation(`edit: ${what}`);
    diary.note(`saved: ${await file.save()}`);
    const mended = this.#next.chance(0.1) ? await this.#wreck(table) : () => {};
    await this.#inForce();
    settled();
    mended();
  }

  /** A file that is not valid, for a while, and perhaps under a new supervisor, or with damage. */
  async #breakFile(): Promise<void> {
    const { file, diary } = this.#here;
    diary.operation('a file that is not valid');
    await file.save(file.broken());
    await this.#supervisor.line(/"event":"invalid"/);
    if (this.#next.chance(0.3)) {
      const mended = await this.#wreck(file.table);
      await this.#supervisor.line(/"event":"restored"/);
      await this.#edit();
      return mended();
    }
    await this.#edit();
  }

  async #damage(): Promise<void> {
    const mended = await this.#wreck(this.#here.file.table);
    await this.#inForce();
    mended();
  }

  /** Returns what to call when it is mended. */
  async #wreck(table: string): Promise<() => void> {
    const { world, timeline, diary } = this.#here;
    const script = this.#next.of(DAMAGE(table));
    const mended = timeline.exposes();
    diary.operation(`nft ${script}`);
    await world.nft(script).catch(error => diary.note(error.message)); // an edit may have taken the table's name away
    return mended;
  }

  /** Other programs change tables of their own. */
  async #others(): Promise<void> {
    const { world, diary } = this.#here;
    const table = `inet others${this.#next.below(3)}`;
    diary.operation(`others change ${table}`);
    await world.nft(
      this.#next.of([
        `table ${table} {
  set s { type ipv4_addr; elements = { 192.0.2.1, 192.0.2.2 }; }
  chain c { ip saddr @s counter; }
}`,
        `add table ${table}; delete table ${table}`,
        `table ${table} {
  chain input { type filter hook input priority 5; counter; }
}`,
      ]),
    );
  }

  /** Ends the supervisor, and starts another one, perhaps after an edit or damage meanwhile. */
  async #kill(): Promise<void> {
    const { file, timeline, diary, used } = this.#here;
    const signal = this.#next.of<NodeJS.Signals>(['SIGKILL', 'SIGKILL', 'SIGTERM']);
    const lives = timeline.dies();
    diary.operation(`the supervisor ends by ${signal}`);
    const table = file.table;
    const what = this.#next.chance(0.5) ? file.change() : undefined;
    const settled = what ? timeline.saves(file.rules) : () => {};
    if (what) {
      diary.operation(`edit: ${what}`);
      await file.save();
      await pause(this.#here.diary, this.#next.below(500)); // in the middle of a swap, perhaps
    }
    this.#supervisor.signal(signal);
    await this.#supervisor.ended;
    this.#journal.push(...this.#supervisor.lines());
    const mended = this.#next.chance(0.25) ? await this.#wreck(table) : undefined;
    await pause(diary, this.#next.below(2000));
    // with table and supervisor the knowledge of uses is gone, and a client that keeps to the protocol has none so far ahead
    if (mended) used.length = 0;
    diary.operation('the supervisor starts');
    this.#supervisor = startSupervisor(this.#here);
    await this.#inForce();
    settled();
    mended?.();
    lives();
    this.#connectAllDeaf();
  }

  /** Has it read the file again. */
  async #hangUp(): Promise<void> {
    this.#here.diary.operation('SIGHUP');
    this.#supervisor.signal('SIGHUP');
  }

  /** A reader that never reads takes the place of the one that came first. */
  #beDeaf(): void {
    this.#here.diary.operation('a reader of events that never reads');
    this.#connectDeaf();
    this.#deaf.shift()?.destroy();
  }

  /** As many as there always are. Those of a former supervisor are gone with it. */
  #connectAllDeaf(): void {
    for (const reader of this.#deaf.splice(0)) reader.destroy();
    for (let left = DEAF; left > 0; left--) this.#connectDeaf();
  }

  #connectDeaf(): void {
    const reader = connect(eventsPath(this.#here.env)).pause();
    reader.on('error', () => reader.destroy()); // the supervisor is gone
    this.#deaf.push(reader);
  }
}
