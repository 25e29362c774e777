import { isFromHere, loginStart, sshConnection } from '../host/login.ts';
import { readTrial, type Trial } from '../trial/notes.ts';
import { confirmTrial } from '../trial/settle.ts';
import { sessionId } from '../trial/visits.ts';
import { type Context, EXIT } from './context.ts';
import { tellEnd } from './try.ts';

/** `confirm`: keeps the candidate. Refuses over a connection that proves nothing about it. */
export async function confirmCommand(context: Context, force: boolean): Promise<number> {
  const { env, tell } = context;
  const trial = readTrial(env);
  const flaw = trial && !force ? loginFlaw(env, trial) : undefined;
  if (flaw !== undefined) {
    tell(
      `knockd-nft: this login ${flaw}, so it does not prove that a new one gets in: log in again and confirm there, or use --force if you know better`,
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

/**
 * Why the login over which this is called proves nothing about the new rules. A terminal multiplexer tells of a connection that may
 * have ended long ago, and its user may be here over any other one.
 */
function loginFlaw(env: NodeJS.ProcessEnv, { sessions, by }: Trial): string | undefined {
  const login = sshConnection(env);
  if (!login) return undefined;
  const isOlder = by.start !== null && (loginStart(env) ?? Number.POSITIVE_INFINITY) <= Number(by.start);
  if (isOlder || sessions.includes(sessionId(login))) return 'is older than the trial';
  return isFromHere(login) ? 'comes from this host itself' : undefined;
}
