import {
  appendFileSync,
  closeSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  renameSync,
  rmSync,
  symlinkSync,
  writeFileSync,
  writeSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { setTimeout } from 'node:timers/promises';
import t, { type Test } from 'tap';
import { Watches } from '../../src/supervisor/watch.ts';
import { skip, ssh, supervised, until } from './supervised.ts';

const guarding = (port: number) => JSON.stringify({ services: { ssh: { ...ssh, ports: [port] } } });

t.test('every way of saving the file is seen, and the kernel follows', { skip }, async t => {
  const { world, event, supervisor } = await supervised(t, guarding(22));
  const file = world.configFile;
  const write = (path: string, text: string) => writeFileSync(path, text, { mode: 0o640 });
  const ways: Readonly<Record<string, (port: number) => void | Promise<void>>> = {
    'saved in place': port => write(file, guarding(port)),
    'replaced by rename': port => {
      write(`${file}.new`, guarding(port));
      renameSync(`${file}.new`, file);
    },
    'removed and written again': async port => {
      rmSync(file);
      await setTimeout(300);
      write(file, guarding(port));
    },
    'a burst of writes, the last one wins': port => {
      for (let other = 5000; other < 5020; other++) write(file, guarding(other));
      write(file, guarding(port));
    },
    'replaced by a symbolic link': port => {
      write(`${file}.a`, guarding(port));
      symlinkSync(`${file}.a`, `${file}.link`);
      renameSync(`${file}.link`, file);
    },
    'a symbolic link that is switched': port => {
      write(`${file}.b`, guarding(port));
      symlinkSync(`${file}.b`, `${file}.link`);
      renameSync(`${file}.link`, file);
    },
  };
  let port = 100;
  for (const [way, save] of Object.entries(ways)) {
    port++;
    await save(port);
    let line = await event('swapped');
    while (!line.msg.includes(`-> ${port}/tcp`)) line = await event('swapped');
    t.match(await world.list(), new RegExp(`tcp \\. ${port} : goto guard_ssh`), way);
  }
  await supervisor.stop();
});

t.test("a parent folder's symbolic link that is switched is seen", { skip }, async t => {
  const { world, event } = await supervised(t, guarding(22));
  const folder = dirname(world.configFile);
  for (const [name, port] of [
    ['one', 201],
    ['two', 202],
  ] as const) {
    mkdirSync(join(folder, name));
    writeFileSync(join(folder, name, 'knockd.json'), guarding(port), { mode: 0o640 });
  }
  symlinkSync('one', join(folder, 'current'));
  rmSync(world.configFile);
  symlinkSync('current/knockd.json', world.configFile);
  t.match((await event('swapped')).msg, '-> 201/tcp');
  symlinkSync('two', join(folder, 'next'));
  renameSync(join(folder, 'next'), join(folder, 'current'));
  t.match((await event('swapped')).msg, '-> 202/tcp');
  mkdirSync(join(folder, 'three'));
  writeFileSync(join(folder, 'three', 'knockd.json'), guarding(203), { mode: 0o640 });
  renameSync(join(folder, 'two'), join(folder, 'away'));
  renameSync(join(folder, 'three'), join(folder, 'two'));
  t.match((await event('swapped')).msg, '-> 203/tcp', 'and so is a folder that takes its place');
});

t.test('a bad file changes nothing, and the journal has its errors with their places', { skip }, async t => {
  const { world, event, events } = await supervised(t, guarding(22));
  const before = await world.list();
  world.write('{ "services": {\n  "ssh": { "ports": [22], "sequence": [1000, 70000], "openfor": "5s" } } }');
  const first = await event('invalid');
  t.match(first, { file: world.configFile, line: 2, level: 50 });
  const second = await event('invalid');
  t.match(second.msg, 'openFor', 'one event for each error');
  t.equal(await world.list(), before, 'the old ruleset goes on');
  world.write(guarding(23));
  await event('swapped');
  t.equal(events().filter(line => line.event === 'invalid').length, 2, 'each error is told once');
});

t.test('a secret that comes only after the first start counts as soon as it is there', { skip }, async t => {
  const tokens = { bob: { file: 'bob' } };
  const { world, event, supervisor } = await supervised(t, { services: { ssh: { ...ssh, tokens } } });
  await supervisor.line(/nothing can be loaded/);
  writeFileSync(join(dirname(world.configFile), 'bob'), 'b0'.repeat(32), { mode: 0o600 });
  await event('loaded');
});

t.test('SIGHUP reads the file at once, and an unchanged file changes nothing', { skip }, async t => {
  const { supervisor, event } = await supervised(t, guarding(22));
  supervisor.signal('SIGHUP');
  t.match(await event('unchanged'), { objects: 0 });
});

t.test('the level and format of the log follow the file', { skip }, async t => {
  const { world, supervisor } = await supervised(t, guarding(22));
  world.write({ services: { ssh: { ...ssh, ports: [23] } }, log: { format: 'text' } });
  t.match(await supervisor.line(/^swapped /), /services\.ssh\.ports: 22\/tcp -> 23\/tcp .*event=swapped/);
});

/** Watches, a folder for their files, and how often they told of a change. */
function watching(t: Test) {
  const folder = mkdtempSync(join(tmpdir(), 'knockd-nft-test-'));
  let told = 0;
  const watches = new Watches(() => told++);
  t.teardown(() => {
    watches.follow([]);
    rmSync(folder, { recursive: true });
  });
  return { folder, watches, told: () => told };
}

t.test('a file that changes right before others are watched, too, is still reported', async t => {
  const { folder, watches, told } = watching(t);
  const [file, other] = [join(folder, 'file'), join(folder, 'other')];
  for (const path of [file, other]) writeFileSync(path, '1');
  watches.follow([file]);
  t.notOk(watches.isNew);
  writeFileSync(file, '22');
  watches.follow([file, other]);
  t.ok(watches.isNew, 'not reported yet');
  await until(async () => told(), Boolean);
  t.equal(told(), 1);
  t.notOk(watches.isNew);
});

t.test('a folder that is removed and made again is watched, though its inode may be the same', async t => {
  const { folder, watches, told } = watching(t);
  const secrets = join(folder, 'secrets');
  const file = join(secrets, 'file');
  const make = (text: string) => {
    mkdirSync(secrets);
    writeFileSync(file, text);
  };
  make('1');
  watches.follow([file]);
  rmSync(secrets, { recursive: true });
  make('22');
  await until(async () => told(), Boolean);
  writeFileSync(file, '333');
  // nobody looks once a second here
  t.equal(
    await until(
      async () => told(),
      times => times === 2,
      10,
    ),
    2,
  );
});

t.test('a file that is named twice is watched once, and no longer once it is not named', async t => {
  const { folder, watches, told } = watching(t);
  const [file, secret] = [join(folder, 'file'), join(folder, 'secret')];
  for (const path of [file, secret]) writeFileSync(path, '1');
  watches.follow([file, secret, secret]);
  watches.follow([file, secret, secret]);
  watches.follow([file]);
  writeFileSync(secret, '22');
  await setTimeout(100); // a watch that is left over would report within 30 ms
  t.equal(told(), 0);
  writeFileSync(file, '22');
  await until(async () => told(), Boolean);
});

t.test('a burst of thousands of writes costs little more than one to files that nobody watches', async t => {
  const { folder, watches, told } = watching(t);
  const file = join(folder, 'file');
  writeFileSync(file, '');
  watches.follow([file]);
  /**
   * The CPU time until the file's change after a burst is reported, in microseconds. A write to the watched file is two events, one
   * for it and one for its folder. The kernel joins events that are alike, and keeps 16,384.
   */
  const cost = async (...paths: readonly string[]) => {
    const before = told();
    const descriptors = paths.map(path => openSync(path, 'a'));
    for (let write = 0; write < 8000; write++) for (const one of descriptors) writeSync(one, 'x');
    for (const one of descriptors) closeSync(one);
    appendFileSync(file, 'x');
    const spent = process.cpuUsage();
    await until(async () => told() > before, Boolean);
    const { user, system } = process.cpuUsage(spent);
    t.equal(told(), before + 1);
    return user + system;
  };
  const beside = await cost(join(folder, 'one'), join(folder, 'other'));
  const watched = await cost(file);
  t.comment(`${watched} and ${beside} µs`);
  t.ok(watched < 5 * beside);
});
