/** Commands in a real terminal, beside `init` and `watch`, which have tests of their own: colours, narrow windows, Ctrl-C. */
import { resolve } from 'node:path';
import t, { type Test } from 'tap';
import { loadedWorld, ssh, until } from '../kernel/loaded.ts';
import { candidate, reach, rules } from '../kernel/trying.ts';
import { missing, type World } from '../kernel/world.ts';
import { missingTmux, openTerminal, type TerminalOptions } from './tmux.ts';

const skip = missing('namespaces', 'nft', 'knockd') || missingTmux();
const before = { services: { ssh }, allow: ['10.77.0.2'] };
const lockout = { services: { ssh: { ...ssh, sequence: [11000, 2345, 3456, 1234] } } };
const screenful = /^ended \d+$/m;

/** A shell on a host of the world, with `knockd-nft` as a word. */
async function shell(t: Test, world: World, { inside, ...options }: TerminalOptions = {}) {
  const terminal = await openTerminal(t, ['bash', '--norc', '--noprofile'], {
    inside: { world, host: 'server', ...inside },
    rows: 60,
    ...options,
    env: { PS1: 'ready> ', HISTFILE: '', ...options.env },
  });
  const enter = async (line: string) => {
    await terminal.type(line);
    await terminal.press('Enter');
  };
  await terminal.shows(/^ready>/m);
  const program = `"${process.execPath}" "${resolve('dist/knockd-nft.cjs')}" --config "${world.configFile}"`;
  await enter(`knockd-nft() { ${program} "$@"; }; clear`);
  return { ...terminal, enter };
}

for (const [what, env, coloured] of [
  ['coloured', { CI: 'true' }, true],
  ['plain with NO_COLOR', { NO_COLOR: '1' }, false],
  ['plain with TERM=dumb', { TERM: 'dumb' }, false],
] as const)
  t.test(`the messages of doctor and try are ${what}`, { skip }, async t => {
    const world = await loadedWorld(t, before);
    const terminal = await shell(t, world);
    const variables = Object.entries(env).map(([name, value]) => `export ${name}=${value}`);
    for (const [words, colour] of [
      ['doctor', '\x1b[32mok'],
      [`try ${candidate(world, lockout)} --for 1s`, '\x1b[33mundone: '],
    ] as const) {
      await terminal.enter(`${variables.join('; ')}; clear; knockd-nft ${words}; echo "ended $?"`);
      await terminal.shows(screenful);
      const shown = await terminal.coloured();
      t.equal(shown.includes(colour), coloured, words);
      t.equal(shown.includes('\x1b['), coloured, words);
    }
  });

t.test('into a pipe nothing is coloured, in any environment', { skip }, async t => {
  const world = await loadedWorld(t, before);
  const terminal = await shell(t, world);
  await terminal.enter('clear; FORCE_COLOR=1 knockd-nft doctor | cat; echo "ended $?"');
  t.match(await terminal.shows(screenful), /^ok +configuration: /m);
  t.notMatch(await terminal.coloured(), '\x1b[');
});

t.test('a narrow window breaks no words of a finding', { skip }, async t => {
  const world = await loadedWorld(t, before);
  const terminal = await shell(t, world, { columns: 40 });
  await terminal.enter('clear; knockd-nft doctor; echo "ended $?"');
  const screen = await terminal.shows(screenful);
  for (const sentence of [
    'the table stays and works, but no program follows the file, reports clients, or puts the table back after another tool removes it',
    'a client that knocks correctly is let in, but nothing listens there',
  ])
    t.ok(screen.replace(/\s+/g, ' ').includes(sentence), sentence);
});

t.test('Ctrl-C ends a trial at once, and the prompt is there', { skip }, async t => {
  const world = await loadedWorld(t, before);
  const was = await rules(world);
  await world.host('server').listen(22);
  t.equal(await reach(world), 'open');
  const terminal = await shell(t, world);
  await terminal.enter(`knockd-nft try ${candidate(world, lockout)} --for 10m; echo "ended $?"`);
  await terminal.shows(/Ctrl-C goes back at once/);
  t.equal(await reach(world), 'silent');
  await terminal.press('C-c');
  t.match(await terminal.shows(/^ended 1$/m), /^undone: the former rules are back; /m);
  await terminal.shows(/^ready>\n*(?![\s\S])/m);
  t.equal(await reach(world), 'open');
  t.equal(await rules(world), was);
});

t.test('a window that is closed during a trial leaves the undoer alone', { skip }, async t => {
  const world = await loadedWorld(t, before);
  const was = await rules(world);
  const terminal = await shell(t, world);
  await terminal.enter(`knockd-nft try ${candidate(world, lockout)} --for 5s`);
  await terminal.shows(/Ctrl-C goes back at once/);
  await terminal.close();
  t.equal(
    await until(
      () => rules(world),
      now => now === was,
    ),
    was,
  );
});

t.test('Ctrl-C ends a knock that waits for a port', { skip }, async t => {
  const world = await loadedWorld(t, before);
  const terminal = await shell(t, world, { inside: { world, host: 'client' } });
  await terminal.enter(`stty -g; knockd-nft knock ${world.server.ipv4} 1001 2002 --wait 99 --timeout 10m`);
  await terminal.shows(/port 99 is still closed; knocking again/);
  await terminal.press('C-c');
  await terminal.shows(/^\^C\nready>\n*(?![\s\S])/m);
  await terminal.enter('echo "ended $?"; stty -g');
  const screen = await terminal.shows(/^ended 130\n\S+/m);
  const [first, last] = screen.split('\n').filter(line => /^[0-9a-f:]{40,}/.test(line));
  t.ok(first);
  t.equal(last, first, 'the terminal is as it was');
});
