import { sshConnection } from '../loader/login.ts';
import { confirmTrial, sessionId } from '../loader/settle.ts';
import { readTrial } from '../loader/trial.ts';
import { type Context, EXIT } from './context.ts';
import { tellEnd } from './try.ts';

/** `confirm`: keeps what is being tried. Over a connection that is older than that it proves nothing, and is refused. */
export async function confirmCommand(context: Context, force: boolean): Promise<number> {
  const { env, tell } = context;
  const trial = readTrial(env);
  const login = sshConnection(env);
  if (trial && login && !force && trial.sessions.includes(sessionId(login))) {
    tell(
      'knockd-nft: this login is older than what is tried, so it does not show that a new one gets in: log in anew and type it there, or, if you know better, use --force',
    );
    return EXIT.FAILED;
  }
  const settled = await confirmTrial(env);
  if (!settled) {
    tell('knockd-nft: nothing is being tried, or its time is over: "knockd-nft try FILE" tries it (again)');
    return EXIT.FAILED;
  }
  tellEnd(context, settled);
  return EXIT.DONE;
}
