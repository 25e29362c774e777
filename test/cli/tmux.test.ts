/** What the terminal of the tests is relied on for. */
import t from 'tap';
import { missingTmux, openTerminal } from './tmux.ts';

t.test('the terminal of the tests', { skip: missingTmux() }, async t => {
  const terminal = await openTerminal(t, ['bash', '--norc', '--noprofile'], {
    columns: 60,
    rows: 12,
    env: { PS1: 'ready> ' },
  });
  await terminal.shows(/^ready>/m);
  await terminal.type('stty size; printf "\\e[31mred\\e[m…\\n"');
  await terminal.press('Enter');
  await terminal.shows(/^12 60\nred…$/m);
  t.match(await terminal.coloured(), '\x1b[31mred');
  await terminal.resize(30, 9);
  await terminal.type('stty size');
  await terminal.press('Enter');
  await terminal.shows(/^9 30$/m);
  await terminal.press('C-d');
  await terminal.shows(/dead/i);
  t.equal(await terminal.tell('#{pane_dead} #{pane_dead_status}'), '1 0');
});
