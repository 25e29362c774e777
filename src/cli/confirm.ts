import { isFromHere, sshConnection } from '../host/login.ts';
import { readTrial, type Trial } from '../trial/notes.ts';
import { confirmTrial } from '../trial/settle.ts';
import { sessionId } from '../trial/witness.ts';
import { type Context, EXIT } from './context.ts';
import { tellEnd } from './try.ts';

/** `confirm`: keeps the candidate. Refuses over a connection that proves nothing about it. */
export async function confirmCommand(context: Context, force: boolean): Promise<number> {
  const { env, tell } = context;
  const trial = readTrial(env);
  const flaw = trial && !force ? loginFlaw(env, trial) : undefined;
  if (flaw !== undefined) {
    tell(
      `knockd-nft: this login ${flaw}, so it does not prove that a new one gets in: log in again and run it there, or use --force if you know better`,
    );
    return EXIT.FAILED;
  }
  const settled = await confirmTrial(env);
  if (!settled) {
    tell('knockd-nft: no trial is under way: "knockd-nft try FILE" starts one');
    return EXIT.FAILED;
  }
  tellEnd(context, settled);
  return EXIT.DONE;
}

/** Why the connection that this is called over says nothing about the new rules. */
function loginFlaw(env: NodeJS.ProcessEnv, { sessions }: Trial): string | undefined {
  const login = sshConnection(env);
  if (!login) return undefined;
  if (sessions.includes(sessionId(login))) return 'is older than the trial';
  return isFromHere(login) ? 'comes from this host itself' : undefined;
}
