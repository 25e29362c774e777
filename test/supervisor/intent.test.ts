/** The supervisor's decisions, without a clock, a file or a kernel. */
import fc from 'fast-check';
import t from 'tap';
import type { Problem } from '../../src/config/problems.ts';
import type { Hold } from '../../src/host/hold.ts';
import { decide, type Effect, type Event } from '../../src/supervisor/intent.ts';
import { first, type State } from '../../src/supervisor/state.ts';
import { statusLine, troubles } from '../../src/supervisor/status-line.ts';

const BESIDE = {
  tokens: { is: 'none' },
  stream: undefined,
  notes: undefined,
  nowhere: false,
  unkept: false,
  silent: undefined,
} as const;

const FILE = '/etc/knockd-nft.json';
const problem: Problem = { severity: 'error', file: FILE, line: 2, column: 3, message: 'is wrong' };
const inForce = { generation: 7, table: 'knockd', services: ['ssh'], events: [], group: 22 };
const held: Hold = { reason: 'unloaded by hand', until: null };

type Step = Event extends infer E
  ? E extends unknown
    ? Omit<E, 'now' | 'hold' | 'isFileNew'>
    : never
  : never;

const tick: Step = { is: 'tick', isSame: false };
const changed: Step = { is: 'changed' };
const loaded: Step = { is: 'loaded', inForce, unchanged: false };
const invalid: Step = { is: 'invalid', problems: [problem], missing: false };
const missing: Step = { is: 'invalid', problems: [], missing: true };
const failed: Step = { is: 'failed', message: 'no memory' };
const seen = (generation: number): Step => ({ is: 'generation', generation });

/** A machine and its clock, and what it did. */
class Machine {
  state: State = first(FILE);
  now = 0;
  hold: Hold | undefined;
  isFileNew = false;
  effects: readonly Effect[] = [];

  /** The effects of these events, in words; those that only ask or listen are left out. */
  do(...steps: readonly Step[]): string[] {
    return steps.flatMap(step => {
      const decision = decide(this.state, {
        ...step,
        now: this.now,
        hold: this.hold,
        isFileNew: this.isFileNew,
      });
      this.state = decision.state;
      this.effects = decision.effects;
      return decision.effects.flatMap(words);
    });
  }

  /** One tick after this number of seconds. */
  after(seconds: number): string[] {
    this.now += seconds * 1000;
    return this.do(tick);
  }

  get status(): string {
    return statusLine(this.state, { ...BESIDE, clients: 0 }, this.now);
  }
}

function words(effect: Effect): string[] {
  switch (effect.do) {
    case 'load':
      return [`load ${effect.source}`];
    case 'accept':
      return [`accept as ${effect.as}`];
    case 'note':
      return [`${effect.level}: ${effect.message}`];
    case 'tell invalid':
    case 'tell held':
    case 'hurry':
    case 'ready':
      return [effect.do];
    case 'ask':
    case 'listen':
    case 'wake':
      return [];
  }
}

/** A machine that has loaded its file. */
function standing(): Machine {
  const machine = new Machine();
  machine.do(tick, loaded, { is: 'listening', group: 22 }, seen(7));
  return machine;
}

t.test('it begins with the file, and is ready when the ruleset stands', async t => {
  const machine = new Machine();
  t.same(machine.do(tick), ['load file']);
  t.equal(machine.status, `nothing is loaded yet; ${FILE} is being loaded`);
  t.same(machine.do(loaded), ['accept as load', 'ready']);
  t.equal(machine.status, `guarding ssh; 0 in; ${FILE} is in force`);
  t.same(machine.after(1), []);
});

t.test('a load that fails is tried again after growing pauses, reported once, until it succeeds', async t => {
  const machine = standing();
  t.same(machine.do(changed, failed), ['load file', `error: cannot load ${FILE}: no memory; trying again`]);
  const pauses: number[] = [];
  for (let round = 0; round < 7; round++) {
    let seconds = 0;
    while (!machine.after(1).includes('load file')) seconds++;
    pauses.push(seconds + 1);
    t.same(machine.do(failed), [], 'no line for the same failure');
    t.equal(machine.status, `guarding ssh; 0 in; NOT in force: cannot load ${FILE}: no memory`);
  }
  t.same(pauses, [1, 2, 4, 8, 16, 30, 30]);
  machine.after(30);
  t.same(machine.do(loaded), ['accept as load']);
  t.equal(machine.status, `guarding ssh; 0 in; ${FILE} is in force`);
  t.same(troubles(machine.state, machine.now, BESIDE), []);
});

t.test('a file that is long in being read keeps no table from coming back', async t => {
  const machine = standing();
  t.same(machine.do(changed), ['load file']);
  t.same(machine.do(seen(7)), [], 'nobody else wrote');
  t.same(machine.do(seen(9)), ['hurry']);
  t.match(machine.do(failed), [/cannot load/, 'load in force']);
  const after = { ...loaded, inForce: { ...inForce, generation: 10 } };
  t.same(machine.do(after), ['accept as repair']);
  t.same(machine.after(1), ['load file'], 'the file is tried again later');
});

t.test('while the file is read, the kernel is asked whether the table is as it should be', async t => {
  const machine = standing();
  machine.do(changed);
  machine.after(1);
  t.match(machine.effects, [{ do: 'ask', anew: false }]);
  t.same(machine.do(seen(9)), ['hurry'], 'somebody else may have changed the program');
  t.same(machine.do({ ...loaded, inForce: { ...inForce, generation: 10 } }), ['accept as load']);
});

t.test('if nothing is in force, the last good file does not wait for a file that hangs', async t => {
  const machine = new Machine();
  machine.do(tick);
  t.same(machine.after(1), ['hurry']);
  t.match(machine.do(failed), [/cannot load/, 'load last good']);
  machine.do(loaded);
  t.same(machine.after(1), ['load file']);
  t.same(machine.after(1), [], 'then there is time');
});

t.test(
  'without a last good file either, a file that is slow to answer gets all its time once it has answered',
  async t => {
    const machine = new Machine();
    machine.do(tick);
    t.same(machine.after(1), ['hurry']);
    t.match(machine.do(failed), [/cannot load/, 'load last good']);
    t.match(machine.do(missing), [/nothing can be loaded/]);
    t.same(machine.do({ is: 'answered' }), ['load file']);
    t.same(machine.after(1), [], 'no hurry');
    t.same(machine.do(loaded), ['accept as load']);
  },
);

t.test('a file that answers while the last good one is loaded is not said to be wrong', async t => {
  const machine = new Machine();
  machine.do(tick);
  machine.do({ is: 'failed', message: 'its file system does not answer' });
  machine.do({ is: 'answered' });
  t.match(machine.do(loaded), [
    /cannot be loaded: the last good configuration/,
    'accept as load',
    'load file',
    'ready',
  ]);
});

t.test('a file that answers too late again and again is reported once', async t => {
  const machine = standing();
  const silent: Step = { is: 'failed', message: 'its file system does not answer' };
  machine.do(changed);
  for (let round = 0; round < 3; round++) {
    t.same(machine.do(seen(9 + round)), ['hurry']);
    const told = machine.do(silent);
    t.same(told.filter(it => it.startsWith('error')).length, round === 0 ? 1 : 0);
    t.equal(told.at(-1), 'load in force');
    machine.do({ ...loaded, unchanged: true, inForce: { ...inForce, generation: 9 + round } });
    t.same(machine.do({ is: 'answered' }), ['load file']);
  }
});

t.test('a file that failed, and that somebody loaded by hand meanwhile, is tried again soon', async t => {
  const machine = standing();
  machine.do(changed, failed);
  for (let time = 0; time < 5; time++) {
    machine.after(30);
    machine.do(failed);
  }
  t.same(machine.do(seen(8)), ['load in force'], 'it keeps no repair waiting');
  const repaired = { ...loaded, inForce: { ...inForce, generation: 9 } };
  t.same(machine.do(repaired), ['accept as repair']);
  t.same(machine.after(1), ['load file']);
  machine.do(failed);
  t.same(machine.do(seen(10)), ['load in force']);
  t.same(machine.do({ ...repaired, inForce: { ...inForce, generation: 10 }, unchanged: true }), [
    'accept as repair',
  ]);
  t.same(machine.after(1), [], 'another change has nothing to do with it');
});

t.test('a change of the file is loaded at once, however long the pause would be', async t => {
  const machine = standing();
  machine.do(changed, failed);
  machine.after(1);
  machine.do(failed);
  t.same(machine.do(changed), ['load file']);
});

t.test('another reason for the failure is reported, too', async t => {
  const machine = standing();
  machine.do(changed, failed);
  machine.after(1);
  t.match(machine.do({ is: 'failed', message: 'no descriptor' }), [/no descriptor/]);
});

t.test(
  'a file that is not valid is reported after a moment, and not read again before it changes',
  async t => {
    const machine = standing();
    t.same(machine.do(changed, invalid), ['load file']);
    t.same(machine.effects, [{ do: 'wake', at: 100 }]);
    t.same(machine.after(0.1), ['tell invalid']);
    t.equal(machine.status, `guarding ssh; 0 in; NOT in force: ${FILE}:2:3: is wrong`);
    for (let minute = 0; minute < 60; minute++) t.same(machine.after(60), []);
    t.same(machine.do(changed), ['load file']);
  },
);

t.test('nothing is reported about a file that is being written', async t => {
  const machine = standing();
  t.same(machine.do(changed, invalid, changed), ['load file', 'load file']);
  t.same(machine.do(changed, invalid), ['load file'], 'it changed while it was read');
  t.same(machine.do(loaded), ['accept as load']);
});

t.test('if nothing is in force, the last good file is loaded, and the file is still tried', async t => {
  const machine = new Machine();
  t.same(machine.do(tick, failed), [
    'load file',
    `error: cannot load ${FILE}: no memory; trying again`,
    'load last good',
  ]);
  t.same(machine.do(loaded), [
    `error: ${FILE} cannot be loaded: the last good configuration is in force instead`,
    'accept as load',
    'ready',
  ]);
  t.equal(machine.status, `guarding ssh; 0 in; NOT in force: cannot load ${FILE}: no memory`);
  t.same(machine.after(1), ['load file']);
  t.same(machine.do(loaded), ['accept as load']);
  t.match(machine.status, /is in force$/);
});

t.test('a last good file that fails to load is reported as such, and tried again', async t => {
  const machine = new Machine();
  machine.do(tick, invalid);
  t.same(machine.after(0.1), ['tell invalid', 'load last good']);
  t.same(machine.do(failed), [
    'error: cannot load the last good configuration: no memory; trying again',
    'ready',
  ]);
  t.same(machine.after(1), ['load last good']);
  t.same(machine.do(loaded).slice(0, 1), [
    `error: ${FILE} is not valid: the last good configuration is in force instead`,
  ]);
});

t.test('if there is no last good file, or none that is valid, the message says so', async t => {
  const machine = new Machine();
  machine.do(tick, invalid);
  machine.after(0.1);
  t.same(machine.do(missing), [
    `error: nothing can be loaded: ${FILE} is not valid, and no earlier one is kept`,
    'ready',
  ]);
  t.same(machine.after(3600), [], 'no thread is started for it again');
  machine.do(seen(1));
  t.same(
    machine.do(seen(2)),
    ['load last good'],
    'but when the ruleset changed: somebody may have loaded one',
  );
  t.match(machine.do(invalid), [/neither is the last good one: .*is wrong/]);
  t.same(machine.do(seen(3), invalid), ['load last good'], 'which is told once, however often others write');
  machine.do(changed, invalid);
  machine.after(0.1);
  t.match(machine.do(invalid), [/nothing can be loaded/], 'and again if the file has changed');
});

t.test('STATUS is short, however many services there are', async t => {
  const machine = standing();
  const services = Array.from({ length: 1000 }, (_, index) => `service-${index}`);
  const events = services.slice(0, 500);
  machine.do(changed, { ...loaded, inForce: { ...inForce, services, events } });
  t.match(
    machine.status,
    /^guarding service-500, .*service-519, and 480 more; reporting service-0, .*, and 480 more; 0 in; /,
  );
  t.match(machine.status, / is in force$/);
});

t.test('a change by another program is undone, from the configuration in force', async t => {
  const machine = standing();
  t.same(machine.do(seen(8)), ['load in force']);
  t.same(machine.do({ is: 'loaded', inForce: { ...inForce, generation: 9 }, unchanged: false }), [
    'accept as repair',
  ]);
  machine.after(1);
  t.same(machine.do(seen(9)), []);
});

t.test(
  'a program that changes it all the time is answered more and more slowly, and STATUS says so',
  async t => {
    const machine = standing();
    let generation = 7;
    const repairs: number[] = [];
    for (let second = 0; second < 300; second++) {
      const begun = [...machine.after(1), ...machine.do(seen(++generation))];
      if (!begun.includes('load in force')) {
        t.match(
          machine.status,
          /should guard ssh; .*NOT in force: another program keeps changing table inet knockd/,
        );
        continue;
      }
      repairs.push(second);
      machine.do({ is: 'loaded', inForce: { ...inForce, generation: ++generation }, unchanged: false });
    }
    t.same(repairs.slice(0, 10), [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]);
    t.ok(repairs.length < 5 * 15, `${repairs.length} repairs in 300 s`);
    const pauses = repairs.slice(1).map((second, index) => second - (repairs[index] ?? 0));
    t.ok(Math.max(...pauses) <= 30);
  },
);

t.test('a repair that fails is tried after growing pauses, and forgotten when it succeeded', async t => {
  const machine = standing();
  machine.do(seen(8));
  t.same(machine.do(failed), ['error: cannot put table inet knockd back: no memory; trying again']);
  let loads = 0;
  for (let second = 0; second < 60; second++) {
    const begun = [...machine.after(1), ...machine.do(seen(8 + second))];
    if (!begun.includes('load in force')) continue;
    loads++;
    t.same(machine.do(failed), []);
    t.match(machine.status, /^should guard ssh; 0 in; NOT in force: table inet knockd cannot be put back/);
  }
  t.equal(loads, 5, '1, 2, 4, 8, 16 s');
  machine.after(30);
  const after = { ...inForce, generation: 68 }; // a load comes after the generation that it mends
  t.same(machine.do({ ...loaded, inForce: after }), ['accept as repair']);
  t.equal(machine.status, `guarding ssh; 0 in; ${FILE} is in force`);
});

t.test('a table that is removed during a load is put back as soon as that ends', async t => {
  for (const [made, removed] of [
    [9, 10],
    [0xffff_ffff, 1], // the number wraps around
  ] as const) {
    const machine = standing();
    machine.do(seen(8));
    t.same(machine.do(seen(removed)), []);
    t.same(machine.do({ ...loaded, inForce: { ...inForce, generation: made } }), [
      'accept as repair',
      'load in force',
    ]);
    t.same(machine.do({ ...loaded, inForce: { ...inForce, generation: removed + 1 } }), ['accept as repair']);
  }
});

t.test('one more load is enough, even if the kernel counts its generations from the start', async t => {
  const machine = standing();
  t.same(machine.do(seen(50_000)), ['load in force']);
  const anew = { ...loaded, inForce: { ...inForce, generation: 3 } };
  t.same(machine.do(anew), ['accept as repair', 'load in force']);
  t.same(machine.do(anew), ['accept as repair']);
  t.same(machine.do(seen(3)), []);
});

t.test('a file that cannot be loaded does not keep the table from being put back', async t => {
  const machine = standing();
  machine.do(changed, failed);
  t.same(machine.do(seen(8)), ['load in force']);
  machine.do(loaded);
  t.match(machine.status, /^guarding ssh; 0 in; NOT in force: cannot load/);
});

t.test(
  'a new file comes before a repair, before it is reported; one that is not valid keeps no repair waiting',
  async t => {
    const machine = standing();
    machine.isFileNew = true;
    t.same(machine.after(1), [], 'nothing to repair');
    t.same(machine.do(seen(9)), ['load file']);
    t.same(machine.do(invalid), ['load in force']);
    machine.do(loaded);
    t.match(machine.status, /^guarding ssh/);
  },
);

t.test('nothing is loaded during a hold; afterwards the file is, as it is by then', async t => {
  const machine = standing();
  machine.hold = held;
  t.same(machine.do(changed), ['tell held']);
  t.equal(machine.status, 'held: unloaded by hand');
  t.same(machine.do(seen(9)), []);
  t.same(machine.do({ is: 'reload' }), ['ready'], 'a reload is answered');
  machine.hold = undefined;
  t.same(machine.after(1), ['load file']);
});

t.test(
  'a reload is done when the file is loaded as it was at that moment, and not by a load before',
  async t => {
    const machine = standing();
    machine.do(changed);
    t.same(machine.do({ is: 'reload' }), []);
    t.same(machine.do(loaded), ['accept as load', 'load file']);
    t.same(machine.do(loaded), ['accept as load', 'ready']);
  },
);

t.test('a hold that follows another at once is reported, too', async t => {
  const machine = standing();
  const trial = { reason: 'trying /etc/knockd-nft.json.new', until: 60_000 };
  machine.hold = trial;
  t.same(machine.do(seen(9)), ['tell held']);
  t.same(machine.do(seen(9)), []);
  machine.hold = { ...trial, until: 90_000 };
  t.same(machine.do(seen(9)), ['tell held']);
  machine.hold = held;
  t.same(machine.do(seen(9)), ['tell held']);
});

t.test('a repair that gave way to a trial, which is over by then, leaves the way to the file', async t => {
  const machine = standing();
  t.same(machine.do(seen(9)), ['load in force']);
  t.same(machine.do({ is: 'held' }), ['load file']);
});

t.test('a load that met a hold is done when that is over', async t => {
  const machine = standing();
  machine.do(changed);
  machine.hold = held;
  t.same(machine.do({ is: 'held' }), ['tell held']);
  machine.hold = undefined;
  t.same(machine.after(1), ['load file']);
});

t.test(
  'a kernel that cannot be asked is asked again after growing pauses, and missed changes are mended',
  async t => {
    const machine = standing();
    machine.after(1);
    t.match(machine.effects, [{ do: 'ask', anew: false }]);
    t.match(machine.do({ is: 'no generation', message: 'no descriptor' }), [/cannot ask the kernel/]);
    t.match(machine.status, /is in force; cannot ask the kernel .*: no descriptor$/);
    let asked = 0;
    for (let second = 0; second < 60; second++) {
      machine.after(1);
      if (!machine.effects.some(effect => effect.do === 'ask')) continue;
      asked++;
      t.same(machine.do({ is: 'no generation', message: 'no descriptor' }), []);
    }
    t.equal(asked, 5);
    machine.after(30);
    t.same(machine.do(seen(9)), ['load in force']);
  },
);

t.test('an answer that does not come is asked for on another socket', async t => {
  const machine = standing();
  machine.after(1);
  for (let second = 0; second < 4; second++) {
    machine.after(1);
    t.same(machine.effects, []);
  }
  machine.after(1);
  t.match(machine.effects, [{ do: 'ask', anew: true }]);
});

t.test('a kernel that notifies of nothing is not asked, and of any commit it is', async t => {
  const machine = standing();
  const asks = (isSame: boolean) => {
    machine.do({ is: 'tick', isSame });
    return machine.effects.some(effect => effect.do === 'ask');
  };
  t.notOk(asks(true));
  t.ok(asks(false));
  machine.do(seen(7));
  t.notOk(asks(true));
  t.same(machine.do(seen(8)), ['load in force']);
  machine.do({ is: 'loaded', inForce: { ...inForce, generation: 9 }, unchanged: false });
  t.ok(asks(true), 'the last answer came before the load');
});

t.test('a group of NFLOG that is not available is reported once, and asked for again', async t => {
  const machine = standing();
  const taken: Step = {
    is: 'not listening',
    group: 22,
    message: 'NFLOG group 22 is held by another program',
  };
  t.same(machine.do(taken), ['warn: NFLOG group 22 is held by another program: events are not reported']);
  t.match(machine.status, /is in force; NFLOG group 22 is held by another program: events are not reported$/);
  machine.after(1);
  t.ok(machine.effects.some(effect => effect.do === 'listen'));
  t.same(machine.do(taken), []);
  machine.do({ is: 'listening', group: 22 });
  t.match(machine.status, /is in force$/);
});

/** A world that fails as it likes, and the loads that it has begun. */
interface Fate {
  readonly outcome: 'loaded' | 'invalid' | 'failed' | 'held';
  readonly happens: Happening;
  /** The same, while a load runs. */
  readonly meanwhile: Happening;
  readonly wait: number;
}

type Happening = 'nothing' | 'changed' | 'reload' | 'flush' | 'hold' | 'release';

const happening: fc.Arbitrary<Happening> = fc.constantFrom(
  'nothing',
  'nothing',
  'changed',
  'reload',
  'flush',
  'hold',
  'release',
);

const fate: fc.Arbitrary<Fate> = fc.record({
  outcome: fc.constantFrom('loaded', 'invalid', 'failed', 'held'),
  happens: happening,
  meanwhile: happening,
  wait: fc.integer({ min: 0, max: 40_000 }),
});

/** The file and the kernel, by number: which content is in the file, and which one is in force. */
class World {
  readonly machine = new Machine();
  generation = 1;
  /** The kernel's answer, on its way and arrived. */
  answer: number | undefined;
  answered: number | undefined;
  content = 1;
  /** Of the running load: what it took, and what was in the kernel. */
  job:
    | {
        readonly source: string;
        readonly content: number;
        readonly kernel: number | undefined;
        readonly generation: number;
      }
    | undefined;
  loaded: number | undefined;
  kernel: number | undefined;

  step(event: Step): void {
    this.machine.do(event);
    for (const effect of this.machine.effects) {
      if (effect.do !== 'load') continue;
      if (this.job) throw new Error('two loads at once');
      if (this.machine.hold) throw new Error('a load while it is held');
      const content =
        effect.source === 'file' ? this.content : effect.source === 'in force' ? this.loaded : 0;
      const { kernel, generation } = this;
      this.job = { source: effect.source, content: content ?? Number.NaN, kernel, generation };
    }
    if (this.machine.effects.some(effect => effect.do === 'ask')) this.answer = this.generation;
  }

  /** The kernel notifies of each commit. */
  tick(): void {
    this.step({ is: 'tick', isSame: this.answered === this.generation });
  }

  /** The kernel's answer arrives, if one is on its way. */
  reply(): void {
    const { answer } = this;
    if (answer === undefined) return;
    this.answer = undefined;
    this.answered = answer;
    this.step(seen(answer));
  }

  /** The running load ends. */
  end(outcome: Fate['outcome']): void {
    const { job } = this;
    if (!job) return;
    this.job = undefined;
    if (outcome === 'loaded') {
      // a load that finds nothing to change commits nothing, so it does not see what happened since it read the kernel
      const unchanged = job.kernel === job.content;
      if (!unchanged) {
        this.generation++;
        this.kernel = job.content;
      }
      this.loaded = job.content;
      const generation = unchanged ? job.generation : this.generation;
      this.step({ is: 'loaded', inForce: { ...inForce, generation }, unchanged });
    } else this.step(outcome === 'invalid' ? invalid : outcome === 'failed' ? failed : { is: 'held' });
  }

  happen(what: Fate['happens']): void {
    if (what === 'changed' || what === 'reload') {
      this.content++;
      this.step({ is: what });
    } else if (what === 'flush') {
      this.kernel = undefined;
      this.generation++;
    } else if (what === 'hold') this.machine.hold = held;
    else if (what === 'release') this.machine.hold = undefined;
  }

  /** STATUS says that the file is in force only if it is, as far as the events say. */
  expectTruth(): void {
    const { status, state } = this.machine;
    if (/is in force/.test(status) && !(this.loaded === this.content && state.file.is === 'done'))
      throw new Error(`${status}, but content ${this.loaded} of ${this.content} is`);
    if (/^held/.test(status) !== (state.hold !== undefined)) throw new Error(status);
  }
}

t.test(
  'with any events, once faults stop the file is in force, or the last good one with the reason reported',
  async () => {
    fc.assert(
      fc.property(fc.array(fate, { maxLength: 40 }), fc.boolean(), (fates, isValid) => {
        const world = new World();
        world.tick();
        for (const { outcome, happens, meanwhile, wait } of fates) {
          world.happen(happens);
          world.machine.now += wait;
          world.tick();
          world.expectTruth();
          world.happen(meanwhile);
          world.reply();
          world.end(outcome);
          world.expectTruth();
        }
        world.machine.hold = undefined;
        world.happen('changed');
        for (let second = 0; second < 70; second++) {
          world.machine.now += 1000;
          world.tick();
          world.reply();
          const fromFile = world.job?.source === 'file';
          world.end(isValid || !fromFile ? 'loaded' : 'invalid');
          world.expectTruth();
        }
        const { status } = world.machine;
        if (world.job) throw new Error('a load that does not end');
        if (isValid && (world.kernel !== world.content || !/is in force$/.test(status)))
          throw new Error(`content ${world.content}, in the kernel ${world.kernel}: ${status}`);
        if (!isValid && (world.kernel === undefined || !/NOT in force: .*is wrong$/.test(status)))
          throw new Error(`bad file, in the kernel ${world.kernel}: ${status}`);
      }),
      { numRuns: 2000 },
    );
  },
);
