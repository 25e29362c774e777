import { pipeStandard } from '../client/pipe.ts';
import { resolveHost } from '../client/resolve.ts';
import { type Context, EXIT } from './context.ts';
import { adviceFor, openTarget, readTarget, readTcpPort, readTimeout } from './target.ts';

interface ProxyOptions {
  readonly gap?: string | undefined;
  readonly timeout?: string | undefined;
}

/** `proxy`: connects stdin and stdout to a port, and knocks first if it has to. For ssh's ProxyCommand. */
export async function proxyCommand(
  context: Context,
  [name = '', portWord = '', ...words]: readonly string[],
  { gap, timeout }: ProxyOptions,
): Promise<number> {
  const port = readTcpPort(portWord, 'the port');
  const target = readTarget(context, name, words, { port, gap });
  const limit = readTimeout(timeout);
  const addresses = await resolveHost(target.host);
  const door = { ...target, name, addresses, port, advice: adviceFor(context, name, target) };
  const tell = (text: string) => context.tell(`knockd-nft: ${text}`);
  const { socket } = await openTarget(door, { timeout: limit, tryFirst: true, tell, env: context.env });
  await pipeStandard(socket);
  return EXIT.DONE;
}
