import { unkeptTexts } from '../feeder/apply.ts';
import { feed, tokensWanted } from '../feeder/feed.ts';
import { withKernel } from '../host/access.ts';
import { readHold, runningSupervisor } from '../host/hold.ts';
import { observe } from '../table/observe.ts';
import { Writer } from '../table/writer.ts';
import { readConfiguration } from './configuration.ts';
import { type Context, EXIT } from './context.ts';
import { tokensText } from './load.ts';

/**
 * `tokens`, for the timer: feeds new tokens if no supervisor does. It never loads. The configuration in force stays, and a file
 * that differs waits until it is loaded.
 */
export async function tokensCommand(context: Context): Promise<number> {
  const { env, print, tell } = context;
  if (runningSupervisor(env) || readHold(env)) return EXIT.DONE;
  const { config } = await readConfiguration(context);
  const wanted = tokensWanted(config);
  if (!wanted) return EXIT.DONE;
  return withKernel(async ({ connection }) => {
    const { status } = await observe(connection, config);
    if (!status.inSync) {
      tell('knockd-nft: no tokens are fed: the kernel does not have what the file says ("knockd-nft load")');
      return status.loaded ? EXIT.FAILED : EXIT.DONE;
    }
    const fed = await feed(new Writer(connection), wanted, { env, watched: false });
    if (fed.is !== 'gone') print(tokensText(fed) ?? '');
    for (const message of unkeptTexts(fed)) tell(`knockd-nft: ${message}`);
    return fed.is === 'fed' ? EXIT.DONE : EXIT.FAILED;
  });
}
