/** The properties of the tests' terminal that the tests rely on. */
import { existsSync } from 'node:fs';
import t from 'tap';
import { until } from '../kernel/loaded.ts';
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
  await terminal.shows(/^9 30\nready>$/m); // the end of a file counts only while the shell reads
  // tmux 3.3 may leave it as a zombie, which has no open files
  const shell = `/proc/${await terminal.tell('#{pane_pid}')}/fd/0`;
  t.ok(existsSync(shell));
  await terminal.press('C-d');
  t.notOk(
    await until(
      async () => existsSync(shell),
      runs => !runs,
    ),
    'it has ended',
  );
  t.match((await terminal.screen()).join('\n'), /^9 30$/m, 'and its window stays');
});
