/** A real terminal for the tests: tmux on a socket of its own, which ends with the test. */
import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Test } from 'tap';
import { until } from '../kernel/loaded.ts';
import { environment, type Result, type Running, run, start } from '../kernel/process.ts';
import type { World } from '../kernel/world.ts';

export interface TerminalOptions {
  /** The world, and the host in it; this machine by default. */
  readonly inside?: { readonly world: World; readonly host: string };
  /** 80 by 24 by default. */
  readonly columns?: number;
  readonly rows?: number;
  /** Added to a UTF-8 locale, without the variables that change colours. */
  readonly env?: Readonly<Record<string, string>>;
}

/** One window with one program in it. */
export interface Terminal {
  /** Types the text as it is. */
  type(text: string): Promise<void>;
  /** Presses keys by tmux' names: `Enter`, `C-c`, `Tab`. */
  press(...keys: readonly string[]): Promise<void>;
  /** The visible lines, without blanks at their ends. */
  screen(): Promise<readonly string[]>;
  /** The same as one text with its escape sequences for colours. */
  coloured(): Promise<string>;
  /** Waits until the screen matches, and returns it. Rejects after `seconds`, when it counts as hung, with what it shows. */
  shows(pattern: RegExp, seconds?: number): Promise<string>;
  /** A format of tmux(1), such as `#{alternate_on}`, or `#{pane_pid}`. */
  tell(format: string): Promise<string>;
  resize(columns: number, rows: number): Promise<void>;
  /** Closes the window. */
  close(): Promise<void>;
}

/** For a test's `skip`. */
export function missingTmux(): string | false {
  return spawnSync('tmux', ['-V'], { env: environment }).status === 0 ? false : 'tmux is not installed';
}

/** Opens a window for the program `command`. It stays when the program ends. Ask {@link missingTmux} first. */
export async function openTerminal(
  t: Pick<Test, 'teardown'>,
  command: readonly string[],
  { inside, columns = 80, rows = 24, env = {} }: TerminalOptions = {},
): Promise<Terminal> {
  const folder = mkdtempSync(join(tmpdir(), 'knockd-nft-tmux-'));
  const words = (args: readonly string[]) => ['-S', join(folder, 'socket'), '-f', '/dev/null', '-u', ...args];
  const client = (args: readonly string[]) => words(['-N', ...args]); // never starts a server
  // not a daemon, which would outlive a test that is killed
  const clean = [
    '-u',
    'NO_COLOR',
    '-u',
    'TMUX',
    '-u',
    'LC_ALL',
    'LANG=C.UTF-8',
    'SHELL=/bin/sh',
    'TERM=screen',
  ];
  const server = ['tmux', ...words(['-D'])];
  const running: Running = inside
    ? inside.world.start(inside.host, 'env', [...clean, ...server])
    : start(['setpriv', '--pdeathsig', 'KILL', 'env', ...clean, ...server]);
  t.teardown(async () => {
    await running.stop('SIGTERM');
    rmSync(folder, { recursive: true, force: true });
  });

  const ask = (args: readonly string[]): Promise<Result> =>
    inside ? inside.world.run(inside.host, 'tmux', client(args)) : run(['tmux', ...client(args)]);
  async function tmux(...args: readonly string[]): Promise<string> {
    const { status, stdout, stderr } = await ask(args);
    if (status !== 0) throw new Error(`tmux ${args.join(' ')}: ${stderr}${running.lines().join('\n')}`);
    return stdout;
  }
  const lines = async () => (await tmux('capture-pane', '-p')).split('\n').map(line => line.trimEnd());

  await until(
    () => ask(['set', '-g', 'remain-on-exit', 'on']),
    ({ status }) => status === 0,
  );
  const variables = Object.entries(env).flatMap(([name, value]) => ['-e', `${name}=${value}`]);
  const size = ['-x', String(columns), '-y', String(rows)];
  await tmux('set', '-g', 'status', 'off', ';', 'new-session', '-d', ...size, ...variables, '--', ...command);

  return {
    type: async text => void (await tmux('send-keys', '-l', '--', text)),
    press: async (...keys) => void (await tmux('send-keys', '--', ...keys)),
    screen: lines,
    coloured: () => tmux('capture-pane', '-p', '-e'),
    shows: async (pattern, seconds) =>
      until(
        async () => (await lines()).join('\n'),
        screen => pattern.test(screen),
        seconds,
      ).catch(error => {
        throw new Error(`the screen never showed ${pattern}: ${error.message}`);
      }),
    tell: async format => (await tmux('display-message', '-p', format)).trimEnd(),
    resize: async (newColumns, newRows) =>
      void (await tmux('resize-window', '-x', String(newColumns), '-y', String(newRows))),
    close: async () => void (await tmux('kill-session')),
  };
}
