import { emitKeypressEvents, type Key } from 'node:readline';
import { written } from './harmless.ts';

/** The calls that a screen makes to the code that draws on it. */
interface Listener {
  /** A key by its name, `q`, unless the screen uses it itself. */
  readonly key: (key: string) => void;
  /** The size changed, or another program wrote on the screen. Draw everything. */
  readonly redraw: () => void;
  /** The user wants to end it with Ctrl-C, or the terminal is gone. */
  readonly end: () => void;
}

/** The whole terminal, until it is closed. */
interface Screen {
  /** Lines and columns now. */
  readonly size: () => { readonly width: number; readonly height: number };
  /** Shows these lines, none wider than the screen. It writes only those that changed. */
  readonly draw: (lines: readonly string[]) => void;
  /** Leaves the terminal as it was before. */
  readonly close: () => void;
}

// xterm's control sequences, which all terminals in use know
const CLEAR = '\x1b[2J';
const CLEAR_LINE = '\x1b[K';
const goto = (row: number) => `\x1b[${row};1H`;
/** The alternate screen, without cursor. */
const ENTER = `\x1b[?1049h\x1b[?25l${CLEAR}`;
/** A terminal without an alternate screen is at least left empty. */
const LEAVE = `${CLEAR}${goto(1)}\x1b[?25h\x1b[?1049l`;

/** The size if the terminal does not say. */
const USUAL = { width: 80, height: 24 };

/**
 * Takes the terminal of standard output. It gives it back on `close`, at the end of the process, on SIGTERM and SIGHUP (which
 * then end the process), and while SIGTSTP stops the process. It cannot do so on SIGKILL and SIGSTOP, which no process can
 * catch.
 */
export function openScreen(listener: Listener): Screen {
  const { stdin, stdout } = process;
  const typing = stdin.isTTY;
  let shown: string[] = [];
  let open = false;

  const enter = () => {
    // if the process is in the background, this stops it before it writes to a screen in use
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
    if (typing) stdin.setRawMode(false); // otherwise Node.js would not set it again if other programs changed it
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
    process.kill(process.pid, 'SIGTSTP'); // returns when it goes on, or at once if no shell could continue it
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
