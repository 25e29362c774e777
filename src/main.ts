import { type Command, CommanderError, program } from 'commander';
import { type Context, EXIT } from './cli/context.ts';
import { VERSION } from './version.ts';

/** Runs the command line `words` and returns the exit status. A command's code is loaded only when it is called. */
async function main(words: readonly string[]): Promise<number> {
  let status: number = EXIT.DONE;
  program
    .name('knockd-nft')
    .description(
      'Port knocking that the Linux kernel does itself, with nftables sets and no listening daemon.',
    )
    .version(VERSION, '-V, --version')
    .option('-c, --config <file>', 'the configuration (default: $KNOCKD_NFT_CONFIG or /etc/knockd-nft.json)')
    .exitOverride();

  const add = (
    usage: string,
    description: string,
    example: string,
    run: (context: Context, file: string | undefined) => Promise<number>,
  ): void => {
    program
      .command(usage)
      .description(description)
      .option('--json', 'print the result as JSON')
      .configureHelp({ showGlobalOptions: true })
      .addHelpText('after', `\nExample:\n  ${example}`)
      .exitOverride()
      .action(async (...parameters: unknown[]) => {
        const [file] = parameters;
        const command = parameters.at(-1) as Command;
        const { config, json } = command.optsWithGlobals<{ config?: string; json?: boolean }>();
        const context: Context = {
          config,
          json: json ?? false,
          env: process.env,
          print: text => process.stdout.write(`${text}\n`),
          tell: text => process.stderr.write(`${text}\n`),
        };
        status = await run(context, typeof file === 'string' ? file : undefined);
      });
  };

  add(
    'check [file]',
    'validate a configuration and say what it means',
    'knockd-nft check ./new.json',
    async (context, file) => (await import('./cli/check.ts')).checkCommand(context, file),
  );
  add('load', 'make the kernel match the configuration', 'sudo knockd-nft load', async context =>
    (await import('./cli/load.ts')).loadCommand(context),
  );
  add('unload', 'remove the table: nothing is guarded any more', 'sudo knockd-nft unload', async context =>
    (await import('./cli/unload.ts')).unloadCommand(context),
  );
  add(
    'render [file]',
    'print the ruleset as an nft script',
    'knockd-nft render | sudo nft -c -f -',
    async (context, file) => (await import('./cli/render.ts')).renderCommand(context, file),
  );
  add(
    'diff',
    'show what load would change; exits with 1 if anything',
    'sudo knockd-nft diff',
    async context => (await import('./cli/diff.ts')).diffCommand(context),
  );
  add(
    'status',
    'show who is in, who is knocking, and what was counted',
    'sudo knockd-nft status',
    async context => (await import('./cli/status.ts')).statusCommand(context),
  );
  add('demo', 'show it all for real, in a network namespace of its own', 'knockd-nft demo', async context =>
    (await import('./cli/demo.ts')).demoCommand(context),
  );

  try {
    await program.parseAsync(words, { from: 'user' });
    return status;
  } catch (error) {
    if (error instanceof CommanderError) return error.exitCode === 0 ? EXIT.DONE : EXIT.USAGE;
    const { message, exit } = (await import('./cli/failure.ts')).failureOf(error);
    process.stderr.write(`${message}\n`);
    return exit;
  }
}

main(process.argv.slice(2)).then(status => {
  process.exitCode = status;
});
