import { existsSync, readFileSync, realpathSync } from 'node:fs';
import { dirname, join, relative } from 'node:path';
import { parseConfig } from '../config/parse.ts';
import { ConfigError } from '../config/problems.ts';
import { playClient } from '../demo/client.ts';
import { play } from '../demo/play.ts';
import { plotOf } from '../demo/plot.ts';
import { withProgram } from '../demo/program.ts';
import { layWire, NoStageError, openStage, PART, readScript } from '../demo/stage.ts';
import { jsonTeller, textTeller } from '../demo/teller.ts';
import { NotSeenError } from '../demo/witness.ts';
import { ownNetwork } from '../host/network.ts';
import { shippedConfiguration } from '../init/shipped.ts';
import { type Context, EXIT } from './context.ts';

/**
 * `demo`: hides a service, knocks, and shows what happens, for real, between two hosts in network namespaces. Its
 * status is 0 only if it saw all that it claims. The program runs itself again for each of the hosts.
 */
export async function demoCommand(context: Context): Promise<number> {
  try {
    switch (context.env[PART]) {
      case 'client':
        await playClient();
        return EXIT.DONE;
      case 'server':
        return await narrate(context);
      default:
        return await begin(context);
    }
  } catch (error) {
    if (error instanceof NoStageError) {
      context.tell(`knockd-nft demo: ${error.message}`.split('\n'));
      return error.permission ? EXIT.NOT_PERMITTED : EXIT.FAILED;
    }
    if (error instanceof NotSeenError) {
      context.tell(`knockd-nft demo: this did not happen: ${error.message}`.split('\n'));
      return EXIT.FAILED;
    }
    throw error;
  }
}

/** On the host: reads the configuration before the namespaces change the owners of files. */
async function begin({ config, env, json }: Context): Promise<number> {
  const { name, text } = config === undefined ? shipped() : { name: config, text: readText(config) };
  const plot = plotOf(parseConfig(text, name, env).config);
  if (typeof plot === 'string') throw new NoStageError(`${name}: ${plot}`, false);
  return openStage({ outside: ownNetwork(), name, text }, json);
}

/** Does not check owner and rights, since the demo opens nothing real. */
function readText(path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch (error) {
    const message = `the file cannot be read (${error instanceof Error ? error.message : error}); expected a configuration`;
    throw new ConfigError([{ severity: 'error', file: path, line: null, column: null, message }]);
  }
}

/** The configuration that comes with the program. In a clone it is a file, which somebody may have changed. */
function shipped(): { readonly name: string; readonly text: string } {
  const path = join(dirname(realpathSync(process.argv[1] ?? '')), '../config/knockd-nft.json');
  if (!existsSync(path)) return { name: 'knockd-nft.json', text: shippedConfiguration };
  const fromHere = relative(process.cwd(), path);
  const name = fromHere.startsWith('..') ? path : fromHere;
  return { name, text: readText(name) };
}

/** In the server's namespace. */
async function narrate({ env, json, print }: Context): Promise<number> {
  const { name, text } = await readScript();
  const plot = plotOf(parseConfig(text, name, env).config);
  if (typeof plot === 'string') throw new NoStageError(plot, false);
  const stage = await layWire();
  try {
    const tell = json ? jsonTeller(print) : textTeller(print, env);
    await withProgram(text, program => play({ plot, stage, program, name, text, tell }));
    return EXIT.DONE;
  } finally {
    stage.client.end();
  }
}
