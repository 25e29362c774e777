/**
 * Once means once, whatever happens: a model of the kernel's map and set, a clock that is set, a machine that sleeps, reboots
 * and crashes, tables that others remove, and a feeder that is killed. Each token that was ever sent is sent again.
 */
import assert from 'node:assert/strict';
import fc from 'fast-check';
import t from 'tap';
import { placeId, planFeed, settle, tokenOfUser, withUsesOf } from '../../src/feeder/feed-plan.ts';
import {
  type Ledger,
  type Moment,
  newLedger,
  skipUnknown,
  stamped,
  withFresh,
  withHeard,
  withKeys,
  withoutFresh,
} from '../../src/feeder/ledger.ts';
import { compileAutomaton, type TokenPlace } from '../../src/ruleset/automaton.ts';
import { deriveToken, windowAt } from '../../src/token/derive.ts';

const MINUTE = 60_000;
const HOURS = 1;
const REALM = 'default';
const SECRETS = { alice: Buffer.alloc(32, 1), bob: Buffer.alloc(32, 2) };
const USERS = ['alice', 'bob'] as const;
type User = (typeof USERS)[number];

function placesOf(
  secrets: Readonly<Record<User, Uint8Array>>,
  names: Readonly<Record<User, string>> = { alice: 'alice', bob: 'bob' },
): readonly TokenPlace[] {
  const service = {
    name: 'ssh',
    ports: [],
    sequences: [],
    tokens: USERS.map(user => ({ user: names[user], secret: secrets[user] })),
    knockTimeout: 5000,
    openFor: 10_000,
    singleUse: false,
    closed: 'drop',
  } as const;
  return compileAutomaton([service], REALM).tokens;
}

const PLACES = placesOf(SECRETS);
/** The data that a user's tokens are made from. */
const keyOf = (secret: Uint8Array) => ({ secret, realm: REALM, service: 'ssh' });

/** The machine: what is in the kernel, on the disk, and in the supervisor's memory. */
class Machine {
  /** True time, the clock's error, and the monotonic clock, in milliseconds. */
  #true = Date.UTC(2026, 0, 1);
  #error = 0;
  #monotonic = 0;
  #booted = this.#true;
  #marks = 0;
  #handle = 0;
  /** By token: when it expires by the monotonic clock, and its place. */
  #tokens = new Map<string, { readonly expires: number; readonly place: number }>();
  /** The elements that the feeder put beside them. */
  #mark: string | undefined;
  #used = new Map<string, number>();
  #disk: Ledger | undefined;
  #boot = 0;
  #watching = false;
  /** A token was used that nobody has read of. */
  #isUnheard = false;
  #lost = false;
  #secrets: Record<User, Uint8Array> = SECRETS;
  #names: Record<User, string> = { alice: 'alice', bob: 'bob' };
  #rotated = 10;
  readonly #copies: Ledger[] = [];
  readonly #sent: string[] = [];
  readonly #opened = new Set<string>();

  get #now(): number {
    return this.#true + this.#error;
  }

  get #moment(): Moment {
    return {
      machine: 'm',
      boot: String(this.#boot),
      now: this.#now,
      monotonic: this.#monotonic,
      booted: this.#booted + this.#error,
    };
  }

  /** The kernel's rule. True if the token opened. */
  #send(token: string): boolean {
    this.#sent.push(token);
    const ready = this.#tokens.get(token);
    if ((this.#used.get(token) ?? 0) > this.#monotonic || !ready || ready.expires <= this.#monotonic)
      return false;
    this.#used.set(token, this.#monotonic + (HOURS + 2) * 60 * MINUTE);
    this.#tokens.delete(token);
    assert.ok(!this.#opened.has(token), 'a token opened twice');
    this.#opened.add(token);
    if (this.#watching) this.#note(token, ready.place);
    else this.#isUnheard = true;
    return true;
  }

  /** The supervisor's answer to the kernel's report. */
  #note(token: string, from: number): void {
    const user = this.#disk?.fed?.users[placeId(from)];
    if (!this.#disk || !user) return;
    const here = windowAt(this.#now);
    const place = placeId(from);
    const uses = Array.from({ length: 201 }, (_, index) => ({ place, window: here + index - 100 })).filter(
      ({ window }) => tokenOfUser(user, window) === token,
    );
    this.#disk = withHeard(this.#disk, uses, this.#now);
  }

  /** A client whose clock is right, or `ahead` windows off. */
  use(user: User, ahead: number): boolean {
    return this.#sendOf(user, windowAt(this.#true) + ahead);
  }

  /** A client whose clock is off as this machine's is. After a crash nothing tells of tokens that were farther ahead. */
  useBySameClock(user: User, ahead: number): boolean {
    return this.#sendOf(user, windowAt(this.#now) + ahead);
  }

  #sendOf(user: User, window: number): boolean {
    return this.#send(deriveToken(keyOf(this.#secrets[user]), window));
  }

  /** Everything that ever went over the wire, once more; returns how many opened. */
  replay(): number {
    return [...new Set(this.#sent)].filter(token => this.#send(token)).length;
  }

  #isKnown({ fed }: Ledger): boolean {
    return fed !== null && fed.table === String(this.#handle) && fed.id === this.#mark;
  }

  /** Another program flushes the map, and leaves the table. */
  flushTokens(): void {
    this.#flushTokens();
  }

  #flushTokens(): void {
    this.#tokens.clear();
    this.#mark = undefined;
  }

  get #found(): Ledger {
    return this.#disk ?? skipUnknown(newLedger(this.#moment), windowAt(this.#now));
  }

  /** `user rotate`: the new secret is noted, then written into the file, which a load or the supervisor reads. */
  rotate(user: User): void {
    const secret = Buffer.alloc(32, this.#rotated++);
    this.#disk = withFresh(this.#found, [keyOf(secret)], this.#moment.boot);
    this.#secrets = { ...this.#secrets, [user]: secret };
  }

  /** A user gets another name in the file, and keeps the secret. */
  rename(user: User): void {
    this.#names = { ...this.#names, [user]: this.#names[user] === user ? `${user}s-phone` : user };
  }

  /** A back-up of the ledger, and its return, at a boot. */
  copy(): void {
    if (this.#disk) this.#copies.push(this.#disk);
  }

  bringBack(): void {
    this.#disk = this.#copies.pop() ?? this.#disk;
    this.#lost = true;
    this.#error = Math.max(this.#error, 0);
    this.reboot({ clean: false, off: 10_000 });
  }

  /** The work of `load` and of the supervisor; one may be killed before it has written down its work. */
  feed({ killed = false } = {}): void {
    const moment = this.#moment;
    this.#isUnheard = false;
    const found = this.#found;
    const places = placesOf(this.#secrets, this.#names);
    const table = String(this.#handle);
    const { ledger: settled } = settle(found, {
      moment,
      watched: this.#watching,
      missing: this.#disk ? undefined : 'there is none',
      used: this.#isKnown(found) ? [...this.#used.keys()] : undefined,
    });
    const ledger = withKeys(
      settled,
      new Map(places.map(({ place, secret }) => [placeId(place), keyOf(secret)])),
    );
    const known = this.#isKnown(found);
    const id = String(this.#marks++);
    const complete = known || this.#watching;
    const plan = planFeed(ledger, places, { realm: REALM, hours: HOURS, table, known, complete, id, moment });
    const spent = withoutFresh(
      ledger,
      places.map(({ secret }) => keyOf(secret)),
    );
    if (spent !== ledger) this.#disk = { ...spent, clean: false };
    if (plan.flush) this.#disk = { ...stamped(spent, moment), clean: false, fed: null };
    if (plan.flush) this.#flushTokens();
    this.#mark = plan.fed.id;
    for (const token of plan.removed) this.#tokens.delete(token);
    for (const token of plan.used) this.#used.set(token, this.#monotonic + (HOURS + 2) * 60 * MINUTE);
    for (const { token, timeout, place } of plan.ready)
      if (!this.#tokens.has(token)) this.#tokens.set(token, { expires: this.#monotonic + timeout, place });
    if (killed) this.kill();
    else this.#disk = { ...stamped(spent, moment), clean: false, fed: plan.fed };
  }

  pass(milliseconds: number): void {
    this.#true += milliseconds;
    this.#monotonic += milliseconds;
  }

  /** Element time-outs stand still, as the monotonic clock does. */
  sleep(milliseconds: number): void {
    this.#true += milliseconds;
  }

  /**
   * A clock that is behind after the ledger was lost: then nothing tells of what was used. The model does not do both. Nor does it
   * set the clock back while the kernel alone knows of a use: a crash would take that away, and no time would tell of it.
   */
  setClock(error: number): void {
    if (error < this.#error && this.#isUnheard) return;
    if (error >= 0 || !this.#lost) this.#error = error;
  }

  start(): void {
    this.feed();
    this.#watching = true;
  }

  kill(): void {
    this.#watching = false;
  }

  /** Another program removes the table. */
  flush(): void {
    this.#flushTokens();
    this.#used.clear();
    this.#handle++;
  }

  /** `unload`, and each clean reboot. */
  withdraw(): void {
    const moment = this.#moment;
    const complete = this.#disk !== undefined && this.#isKnown(this.#disk);
    this.#flushTokens();
    if (!this.#disk) return;
    const ledger = complete ? withUsesOf(this.#disk, [...this.#used.keys()], moment.now) : this.#disk;
    this.#disk = { ...stamped(ledger, moment), clean: complete, fed: null };
    this.flush();
  }

  reboot(options: { readonly clean: boolean; readonly off: number; readonly sameHandle?: boolean }): void {
    if (options.clean) this.withdraw();
    this.kill();
    this.flush();
    if (options.sameHandle) this.#handle--; // a network of its own counts from 1 each time
    this.#true += options.off;
    this.#monotonic = 0;
    this.#boot++;
    this.#booted = this.#true;
    this.feed();
  }

  loseLedger(): void {
    this.#disk = undefined;
    this.#lost = true;
    this.#error = Math.max(this.#error, 0);
  }

  /** With the right time, a feeder at work, and all that may have been used left out: a fresh token must open. */
  mustOpen(): void {
    this.#error = 0;
    this.start();
    this.pass(5 * MINUTE);
    // a client whose clock was ahead may have used up those of some minutes from now on
    for (let minute = 0; minute < 3 * ACTS; minute++) {
      this.pass(MINUTE);
      this.feed();
      if (this.use('alice', 0)) return;
    }
    assert.fail('nobody gets in any more');
  }

  get isAhead(): boolean {
    return (this.#disk?.floor ?? 0) > windowAt(this.#true) + 6 || (this.#disk?.time ?? 0) > this.#true;
  }
}

/** At most. */
const ACTS = 40;

type Act = (machine: Machine) => void;

const act: fc.Arbitrary<Act> = fc.oneof(
  {
    weight: 6,
    arbitrary: fc.tuple(fc.constantFrom(...USERS), fc.integer({ min: -2, max: 3 })).map(
      ([user, ahead]): Act =>
        machine =>
          void machine.useBySameClock(user, ahead),
    ),
  },
  { weight: 4, arbitrary: fc.constant<Act>(machine => void machine.replay()) },
  { weight: 4, arbitrary: fc.constant<Act>(machine => machine.feed()) },
  {
    weight: 4,
    arbitrary: fc.integer({ min: 1, max: 90 }).map(
      (half): Act =>
        machine =>
          machine.pass(half * 30_000),
    ),
  },
  fc.integer({ min: 1, max: 90 }).map(
    (minutes): Act =>
      machine =>
        machine.sleep(minutes * MINUTE),
  ),
  fc.integer({ min: -180, max: 180 }).map(
    (minutes): Act =>
      machine =>
        machine.setClock(minutes * MINUTE),
  ),
  fc.constant<Act>(machine => machine.start()),
  fc.constant<Act>(machine => machine.kill()),
  fc.constant<Act>(machine => machine.flush()),
  fc.constant<Act>(machine => machine.flushTokens()),
  fc.constant<Act>(machine => machine.withdraw()),
  fc
    .record({
      clean: fc.boolean(),
      off: fc.constantFrom(10_000, 4 * MINUTE, 60 * MINUTE),
      sameHandle: fc.boolean(),
    })
    .map(
      (options): Act =>
        machine =>
          machine.reboot(options),
    ),
  fc.constant<Act>(machine => machine.loseLedger()),
  fc.constantFrom(...USERS).map(
    (user): Act =>
      machine =>
        machine.rotate(user),
  ),
  fc.constantFrom(...USERS).map(
    (user): Act =>
      machine =>
        machine.rename(user),
  ),
  fc.constant<Act>(machine => machine.feed({ killed: true })),
  fc.constant<Act>(machine => machine.copy()),
  fc.constant<Act>(machine => machine.bringBack()),
);

t.test('no token opens twice, whatever happens, and afterwards fresh ones open', t => {
  fc.assert(
    fc.property(fc.array(act, { maxLength: ACTS }), acts => {
      const machine = new Machine();
      machine.start();
      for (const one of acts) one(machine);
      machine.replay();
      if (!machine.isAhead) machine.mustOpen();
    }),
    { numRuns: 3000 },
  );
  t.end();
});

t.test('after a boot whose clock is hours behind, no token of the past opens', t => {
  const machine = new Machine();
  machine.start();
  machine.withdraw();
  t.notOk(machine.use('alice', 0), 'nobody has tokens: this one was sent in vain');
  machine.pass(170 * MINUTE);
  machine.start();
  machine.withdraw();
  machine.setClock(-171 * MINUTE);
  machine.reboot({ clean: true, off: 10_000 });
  t.equal(machine.replay(), 0);
  machine.setClock(0);
  machine.feed();
  t.equal(machine.replay(), 0, 'nor when the clock is set right');
  t.end();
});

t.test(
  'a new user gets in within the first minutes, whatever has all tokens fed anew, and each token opens once',
  t => {
    const mishaps: Readonly<Record<string, (machine: Machine) => void>> = {
      'the machine sleeps': machine => machine.sleep(MINUTE),
      'the clock is set ahead': machine => machine.setClock(30_000),
      'the clock is set back a little': machine => machine.setClock(-5000),
      'another program removes the table': machine => machine.flush(),
      'another program flushes the tokens': machine => machine.flushTokens(),
    };
    for (const [what, happens] of Object.entries(mishaps)) {
      const machine = new Machine();
      machine.pass(20_000);
      machine.rotate('alice');
      machine.start();
      t.ok(machine.useBySameClock('alice', 0), what);
      happens(machine);
      machine.feed();
      t.equal(machine.replay(), 0, what);
      t.ok(machine.useBySameClock('alice', 1), what);
      happens(machine);
      machine.feed();
      t.equal(machine.replay(), 0, what);
      t.ok(machine.useBySameClock('alice', 2), what);
    }
    t.end();
  },
);

t.test('a user who gets another name and keeps the secret keeps his used tokens used', t => {
  const again: Readonly<Record<string, (machine: Machine) => void>> = {
    'while nothing is loaded': machine => {
      machine.withdraw();
      machine.rename('alice');
      machine.start();
    },
    'before another program removes the table': machine => {
      machine.rename('alice');
      machine.feed();
      machine.flush();
      machine.feed();
    },
    'and has the former one again': machine => {
      machine.rename('alice');
      machine.feed();
      machine.withdraw();
      machine.rename('alice');
      machine.start();
    },
  };
  for (const [what, happens] of Object.entries(again)) {
    const machine = new Machine();
    machine.start();
    machine.pass(6 * MINUTE);
    machine.feed();
    t.ok(machine.use('alice', 0), what);
    happens(machine);
    t.equal(machine.replay(), 0, what);
    t.ok(machine.use('alice', 1), what);
  }
  t.end();
});

t.test(
  'a clock that is set back by days, and is seen only after a use: what the ledger has forgotten stays used',
  t => {
    const machine = new Machine();
    machine.pass(20_000);
    machine.rotate('alice');
    machine.start();
    t.ok(machine.use('alice', 0));
    for (let hour = 0; hour < 72; hour++) {
      machine.pass(60 * MINUTE);
      machine.feed();
      t.ok(machine.use('alice', 0));
    }
    machine.setClock(-72 * 60 * MINUTE);
    t.ok(machine.use('alice', 1), 'the kernel still has it');
    machine.feed();
    t.equal(machine.replay(), 0);
    t.end();
  },
);

t.test('a clock that is set an hour ahead, and two back, leaves the right token good, once', t => {
  const machine = new Machine();
  machine.start();
  machine.pass(6 * MINUTE);
  machine.feed();
  t.ok(machine.use('alice', 0));
  machine.setClock(60 * MINUTE);
  machine.feed();
  t.notOk(machine.use('alice', 1), 'of a time that is over, as the clock says');
  machine.setClock(-60 * MINUTE);
  machine.feed();
  machine.setClock(0);
  machine.feed();
  t.ok(machine.use('alice', 2));
  t.equal(machine.replay(), 1, 'the one that was sent in vain');
  t.equal(machine.replay(), 0);
  t.end();
});

t.test('the others keep their tokens when a user goes, and none of them is fed again', t => {
  const [alice, bob] = PLACES;
  if (!alice || !bob) throw new Error('two users');
  const moment: Moment = { machine: 'm', boot: '1', now: 1e12, monotonic: 0, booted: 0 };
  const options = { realm: REALM, hours: HOURS, table: '7', complete: true, id: 'a', moment };
  const first = planFeed(newLedger(moment), [alice, bob], { ...options, known: false });
  t.ok(first.flush);
  t.equal([...first.ready].length, 2 * (60 * HOURS + 4));
  const ledger = { ...newLedger(moment), fed: first.fed };
  const later = planFeed(ledger, [bob], { ...options, known: true });
  t.notOk(later.flush);
  t.same([...later.ready], []);
  t.equal(later.removed.length, 60 * HOURS + 4);
  const minute = { ...moment, now: moment.now + MINUTE, monotonic: MINUTE };
  const next = planFeed(ledger, [alice, bob], { ...options, known: true, moment: minute });
  t.equal([...next.ready].length, 2, 'a window each');
  t.end();
});

t.test('a user who comes when the others fill the map gets tokens, and all have as many hours as fit', t => {
  const users = Array.from({ length: 128 }, (_, index) => {
    const [alice] = PLACES;
    if (!alice) throw new Error('a user');
    return { ...alice, place: (index + 1) as TokenPlace['place'], user: `u${index}` };
  });
  const moment: Moment = { machine: 'm', boot: '1', now: 1e12, monotonic: 0, booted: 0 };
  const options = { realm: REALM, hours: 24, table: '7', known: true, complete: true, id: 'a', moment };
  let ledger = newLedger(moment);
  const feeds: boolean[] = [];
  for (const count of [90, 91, 92, 128, 100]) {
    const { flush, fed } = planFeed(ledger, users.slice(0, count), options);
    const windows = fed.until - windowAt(moment.now - 90_000) + 1;
    t.ok(count * windows + 1 <= 131_072, `${count} users, ${windows} windows`);
    feeds.push(flush);
    ledger = { ...ledger, fed };
  }
  t.same(feeds, [true, true, true, true, false], 'all are fed again only if there is no room');
  t.end();
});

t.test('a first load lets in a client whose clock is slow by up to 90 s, at any second of a minute', t => {
  const [alice] = PLACES;
  if (!alice) throw new Error('a user');
  for (let second = 0; second < 60; second++) {
    const now = Date.UTC(2026, 0, 1, 0, 0, second);
    const moment: Moment = { machine: 'm', boot: '1', now, monotonic: 0, booted: 0 };
    const options = {
      realm: REALM,
      hours: HOURS,
      table: '7',
      known: false,
      complete: false,
      id: 'x',
      moment,
    };
    const tokens = new Set(
      [...planFeed(newLedger(moment), [alice], options).ready].map(({ token }) => token),
    );
    const opens = (slow: number) => tokens.has(deriveToken(keyOf(alice.secret), windowAt(now - slow)));
    t.same(
      [opens(0), opens(70_000), opens(89_999), opens(151_000)],
      [true, true, true, false],
      `second ${second}`,
    );
  }
  t.end();
});

t.test('a secret that was just made opens at once after a first load; one that is fed again does not', t => {
  const [alice] = PLACES;
  if (!alice) throw new Error('a user');
  const moment: Moment = { machine: 'm', boot: '1', now: 1e12, monotonic: 0, booted: 0 };
  const options = { realm: REALM, hours: HOURS, table: '7', known: true, complete: true, id: 'x', moment };
  const unknown = skipUnknown(newLedger(moment), windowAt(moment.now));
  const least = (ledger: Ledger, at = options) =>
    [...planFeed(ledger, [alice], at).ready].findIndex(
      ({ token }) => token === deriveToken(keyOf(alice.secret), windowAt(1e12)),
    );
  t.equal(least(unknown), -1, 'an old secret: some of its tokens may have been used');
  const noted = withFresh(unknown, [keyOf(alice.secret)], '1');
  t.equal(least(noted), 1, 'the present window, after the one that ended last');
  t.equal(least(withoutFresh(noted, [keyOf(alice.secret)])), -1, 'once it was fed');
  t.equal(least(noted, { ...options, moment: { ...moment, boot: '2' } }), -1, 'after another boot');
  t.equal(least(noted, { ...options, moment: { ...moment, machine: 'n' } }), -1, 'on another machine');
  const other = { ...keyOf(alice.secret), secret: Buffer.alloc(32, 9) };
  t.equal(least(withFresh(unknown, [other], '1')), -1, 'the note is about another secret');
  const used = { ...noted, used: { [placeId(alice.place)]: [windowAt(1e12) + 9] } };
  t.equal(least(used), -1, 'its place was used before');
  t.end();
});

t.test('a user whose fresh secret is taken back leaves none of its tokens, and is no new one later', t => {
  const [alice, bob] = PLACES;
  if (!alice || !bob) throw new Error('two users');
  const moment: Moment = { machine: 'm', boot: '1', now: 1e12, monotonic: 0, booted: 0 };
  const options = { realm: REALM, hours: HOURS, table: '7', known: true, complete: true, id: 'x', moment };
  const noted = withFresh(skipUnknown(newLedger(moment), windowAt(moment.now)), [keyOf(alice.secret)], '1');
  const first = planFeed(noted, [alice, bob], options);
  const ofAlice = [...first.ready].filter(({ place }) => place === alice.place).map(({ token }) => token);
  t.equal(ofAlice.length, 60 * HOURS + 4);
  const spent = withoutFresh(noted, [keyOf(alice.secret)]);
  const gone = planFeed({ ...spent, fed: first.fed }, [bob], options);
  t.same(new Set(gone.removed), new Set(ofAlice));
  const back = planFeed({ ...spent, fed: gone.fed }, [alice, bob], options);
  t.equal([...back.ready].length, 60 * HOURS + 2 - 4, 'from the fifth window on');
  t.end();
});
