import { type Command, CommanderError, InvalidArgumentError, Option, program } from 'commander';
import { writeLines } from '../terminal/harmless.ts';
import { VERSION } from '../version.ts';
import type { CommandSpec, Options } from './command.ts';
import { EXIT, STATES } from './context.ts';

const CONFIG = new Option(
  '-c, --config <file>',
  'instead of $KNOCKD_NFT_CONFIG or /etc/knockd-nft.json',
).argParser(named);

/** Runs the command line of this process, which has these commands, and sets the exit status. */
export async function runProgram(description: string, commands: readonly CommandSpec[]): Promise<void> {
  process.stdout.on('error', unread);
  process.stderr.on('error', () => {}); // a message that nobody reads must not keep a command from its work
  const status = await main(process.argv.slice(2), description, commands);
  process.exitCode ??= status;
}

/** The command that runs. */
let running: Pick<CommandSpec, 'failed' | 'unread'> = {};
/** Whether a part of its result could not be written, which it has said. */
let isUnwritten = false;

/** Returns the exit status. */
async function main(
  words: readonly string[],
  description: string,
  commands: readonly CommandSpec[],
): Promise<number> {
  let status: number = EXIT.DONE;
  program
    .name('knockd-nft')
    .usage('[--config FILE] COMMAND')
    .description(description)
    .addOption(CONFIG)
    .version(VERSION, '-V, --version', 'the version')
    .helpOption('-h, --help', 'this help, or the help of a command')
    .configureHelp({ subcommandTerm: command => command.name() })
    .configureOutput({
      outputError: text =>
        writeLines(
          process.stderr,
          text
            .replace(/^error: /, 'knockd-nft: ')
            .trimEnd()
            .split('\n'),
        ),
    })
    .showHelpAfterError('"knockd-nft --help" shows all commands')
    .exitOverride();
  for (const spec of possible(words, commands))
    addCommand(spec, async run => {
      running = spec;
      status = await run;
    });
  program.commandsGroup('More:').helpCommand('help [command]', 'the same as --help');
  try {
    await program.parseAsync(words, { from: 'user' });
    return status;
  } catch (error) {
    if (error instanceof CommanderError) {
      if (error.exitCode === 0) return EXIT.DONE;
      // a monitor does not know what 64 means
      return words.includes('status') && words.includes('--check') ? STATES.UNKNOWN : EXIT.USAGE;
    }
    const { lines, exit } = (await import('./failure.ts')).failureOf(error);
    writeLines(process.stderr, lines);
    return exit === EXIT.FAILED ? (running.failed ?? EXIT.FAILED) : exit;
  }
}

/** A script may have a variable that is empty. */
function named(file: string): string {
  if (file === '') throw new InvalidArgumentError('It is empty; expected the name of a file.');
  return file;
}

/** The commands that can be meant. To make all of them takes a few milliseconds, and only help and a slip of the pen need it. */
function possible(words: readonly string[], commands: readonly CommandSpec[]): readonly CommandSpec[] {
  const isOption = (word: string) => word.startsWith('-');
  const isFile = (at: number) => ['-c', '--config'].includes(words[at - 1] ?? '');
  const called = words.find((word, at) => !isOption(word) && !isFile(at));
  const asksForHelp = words.some(word => ['--help', '-h'].includes(word));
  const meant = commands.filter(({ usage }) => usage.split(' ', 1)[0] === called);
  return meant.length > 0 && !asksForHelp ? meant : commands;
}

function addCommand(
  { group, usage, description, summary = '', example, options = [], hidden, run }: CommandSpec,
  done: (status: Promise<number>) => Promise<void>,
): void {
  const added = program
    .command(usage, { hidden: hidden === true })
    .helpGroup(`${group}:`)
    .description(description)
    .summary(summary)
    .addHelpText('after', `\nExample:\n  ${example}`)
    .showHelpAfterError(`for example: ${example}`)
    .exitOverride();
  for (const [flags, text] of options) added.addOption(new Option(flags, text).hideHelp(text === undefined));
  added
    .option('--json', 'print the result as JSON')
    .helpOption('-h, --help', 'this help')
    .configureHelp({ showGlobalOptions: true, visibleGlobalOptions: () => [CONFIG] });
  added.action((...parameters: unknown[]) => {
    const command = parameters.at(-1) as Command;
    const {
      config,
      json = false,
      ...own
    } = command.optsWithGlobals<Options & { config?: string; json?: boolean }>();
    const context = {
      config,
      json,
      env: process.env,
      print: (lines: string | readonly string[]) => writeLines(process.stdout, lines),
      tell: (lines: string | readonly string[]) => writeLines(process.stderr, lines),
    };
    return done(run(context, own, command.args));
  });
}

/**
 * Nobody reads our results any more: the reader has seen enough, or the terminal is gone. Only a command that prints without end
 * ends. Any other one does its work, and its status tells how that went. A result that cannot be written is a failure.
 */
function unread(this: NodeJS.WriteStream, { code }: NodeJS.ErrnoException): void {
  if (code !== 'EPIPE' && !(code === 'EIO' && this.isTTY)) {
    if (!isUnwritten) writeLines(process.stderr, `knockd-nft: cannot write (${code})`);
    isUnwritten = true;
    process.exitCode = running.failed ?? EXIT.FAILED;
  }
  if (running.unread !== undefined) process.exit(process.exitCode ?? running.unread);
}
