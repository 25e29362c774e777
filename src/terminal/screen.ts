import { emitKeypressEvents, type Key } from 'node:readline';
import { written } from './harmless.ts';

/** What a screen tells whoever draws on it. */
export interface Listener {
  /** A key by its name, `q`, that stands for nothing else. */
  readonly key: (key: string) => void;
  /** The size is another one, or others have written on it: all is to be drawn. */
  readonly redraw: () => void;
  /** Somebody wants an end: Ctrl-C, or the terminal is gone. */
  readonly end: () => void;
}

/** The whole terminal, until it is closed. */
export interface Screen {
  /** Lines and columns now. */
  readonly size: () => { readonly width: number; readonly height: number };
  /** Shows these lines, none of them wider than the screen, and writes only those that are not there yet. */
  readonly draw: (lines: readonly string[]) => void;
  /** Leaves the terminal as it was found. */
  readonly close: () => void;
}

// xterm's control sequences, which all terminals know that anybody uses
const CLEAR = '\x1b[2J';
const CLEAR_LINE = '\x1b[K';
const goto = (row: number) => `\x1b[${row};1H`;
/** The alternate screen, without cursor. */
const ENTER = `\x1b[?1049h\x1b[?25l${CLEAR}`;
/** Where there is no alternate screen, at least an empty one is left. */
const LEAVE = `${CLEAR}${goto(1)}\x1b[?25h\x1b[?1049l`;

/** Where the terminal does not know. */
const USUAL = { width: 80, height: 24 };

/**
 * Takes the terminal of standard output. It is given back by `close`, at the end of the process, at SIGTERM and SIGHUP
 * (of which the process dies), and while the process is stopped by SIGTSTP; not at SIGKILL and SIGSTOP, of which
 * nobody hears.
 */
export function openScreen(listener: Listener): Screen {
  const { stdin, stdout } = process;
  const typing = stdin.isTTY;
  let shown: string[] = [];
  let open = false;

  const enter = () => {
    // stops a process in the background, before it writes to a screen that is another's
    if (typing) stdin.setRawMode(true);
    stdout.write(ENTER);
    shown = [];
    open = true;
  };
  const leave = () => {
    if (!open) return;
    open = false;
    stdout.write(LEAVE);
    if (typing) stdin.setRawMode(false);
  };
  const again = () => {
    if (typing) stdin.setRawMode(false); // else it would not be set anew, whatever others have set
    enter();
    listener.redraw();
  };
  const resize = () => {
    shown = [];
    stdout.write(CLEAR);
    listener.redraw();
  };
  const press = (_: string | undefined, { name = '', ctrl, meta }: Key) => {
    if (meta) return;
    if (!ctrl) listener.key(name);
    else if (name === 'c') listener.end();
    else if (name === 'z')
      process.kill(0, 'SIGTSTP'); // the whole job, as the terminal does
    else if (name === 'l') resize();
  };
  const die = (signal: NodeJS.Signals) => {
    close();
    process.kill(process.pid, signal);
  };
  const stop = () => {
    leave();
    process.off('SIGTSTP', stop);
    process.kill(process.pid, 'SIGTSTP'); // returns when it goes on, or at once where nobody could make it
    process.on('SIGTSTP', stop);
    again();
  };
  const signals = { SIGTERM: die, SIGHUP: die, SIGINT: listener.end, SIGTSTP: stop, SIGCONT: again };
  const close = () => {
    leave();
    for (const [signal, on] of Object.entries(signals)) process.off(signal, on);
    process.off('exit', leave);
    stdout.off('resize', resize);
    stdin.off('keypress', press).off('error', listener.end).off('end', listener.end).pause();
  };

  for (const [signal, on] of Object.entries(signals)) process.on(signal, on);
  process.on('exit', leave);
  stdout.on('resize', resize);
  if (typing) {
    emitKeypressEvents(stdin);
    stdin.on('keypress', press).on('error', listener.end).on('end', listener.end).resume();
  }
  enter();
  return {
    size: () => ({ width: stdout.columns || USUAL.width, height: stdout.rows || USUAL.height }),
    draw(lines) {
      if (!open) return;
      const rows = Math.max(lines.length, shown.length);
      let changes = '';
      for (let row = 0; row < rows; row++)
        if (lines[row] !== shown[row]) changes += `${goto(row + 1)}${CLEAR_LINE}${written(lines[row] ?? '')}`;
      if (changes !== '') stdout.write(changes);
      shown = [...lines];
    },
    close,
  };
}
