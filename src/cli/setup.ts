import { randomInt } from 'node:crypto';
import { ConfigError } from '../config/problems.ts';
import { configPath, readFile } from '../config/read.ts';
import { makeReadable } from '../host/readable.ts';
import { packagedConfiguration } from '../init/document.ts';
import { readHost } from '../init/host.ts';
import { exists, isUntouched, writePlace } from '../init/place.ts';
import { chooseSequences, freePorts } from '../init/sequence.ts';
import { shippedConfiguration } from '../init/shipped.ts';
import { assess } from './assess.ts';
import { type Context, EXIT } from './context.ts';
import { failureOf } from './failure.ts';

const KNOCKS = 4;
/** The ports that the example hides. */
const SSH = [{ protocol: 'tcp', first: 22, last: 22 }] as const;

/**
 * `setup`: packages run it after they install files and before they start services. The `first` time it writes a configuration
 * that guards nothing, unless there is one. Later it does not, since an administrator who removed the file wants none. It makes
 * a file from before the package, such as `init` writes in a clone, readable for the services.
 */
export async function prepareCommand(context: Context, first: boolean): Promise<number> {
  const path = configPath(context.config, context.env);
  if (first && !exists(path)) {
    const [sequence] = chooseSequences(1, KNOCKS, await portsToKnockOn(context.env), randomInt) ?? [];
    if (!sequence) throw new Error('this host has too few free ports for a sequence');
    const place = { path, candidate: false, replaces: false };
    writePlace(place, packagedConfiguration(shippedConfiguration, sequence));
  }
  try {
    makeReadable(path, secretFilesIn(path), context);
  } catch (error) {
    context.tell(failureOf(error).lines); // the services say so, too, and the installation need not fail because of it
  }
  return EXIT.DONE;
}

/** None if the file makes no sense, which the services say. */
function secretFilesIn(path: string): readonly string[] {
  try {
    return readFile(path).secretFiles;
  } catch (error) {
    if (error instanceof ConfigError) return [];
    throw error;
  }
}

/** A root tree under construction, without /proc or netlink, has no listeners either. */
async function portsToKnockOn(env: NodeJS.ProcessEnv): Promise<readonly number[]> {
  const host = await readHost(env).catch(() => undefined);
  return freePorts(host ?? { listeners: [], ephemeral: { first: 32_768, last: 60_999 } }, SSH);
}

/** `setup --next`: prints the next step after an installation. */
export async function nextCommand(context: Context): Promise<number> {
  const path = configPath(context.config, context.env);
  if (isUntouched(path, shippedConfiguration)) {
    context.print('knockd-nft: nothing is guarded yet. To hide ssh: sudo knockd-nft init');
    return EXIT.DONE;
  }
  const { state, text } = await assess(path, context.env);
  const more =
    state === 'OK' ? 'To see who is in: sudo knockd-nft status' : 'To see what to do: sudo knockd-nft doctor';
  context.print(`knockd-nft: ${state}: ${text}. ${more}`);
  return EXIT.DONE;
}
