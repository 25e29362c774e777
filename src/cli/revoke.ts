import { type Cut, type Untracked, whyNotCut } from '../connections/cut.ts';
import { revokeOpenings, withoutModules } from '../connections/revoke.ts';
import { sshConnection } from '../host/login.ts';
import { FEATURES } from '../nftables/feature.ts';
import type { Ruleset } from '../nftables/ruleset.ts';
import { count } from '../ruleset/describe.ts';
import { isAllowed } from '../ruleset/program.ts';
import type { Revocation, Revoked } from '../table/openings.ts';
import { type Context, EXIT } from './context.ts';
import { readRevocation, readRevokeWords } from './whom.ts';

interface RevokeOptions {
  readonly all: boolean;
  /** End connections, too. */
  readonly cut: boolean;
}

/** `revoke`: revokes openings, and says which connections go on. */
export async function revokeCommand(
  context: Context,
  words: readonly string[],
  options: RevokeOptions,
): Promise<number> {
  const said = readRevokeWords(words, options.all);
  if (options.cut) process.on('SIGHUP', () => {}); // the signal of our own terminal, when its connection is cut
  const login = options.cut ? sshConnection(context.env) : undefined;
  const ask = (ruleset: Ruleset) => readRevocation(said, ruleset);
  const { revoked, done, unnoted } = await revokeOpenings(context.env, ask, { cut: options.cut, login });
  if (context.json) context.print(JSON.stringify(result(revoked, done)));
  else for (const line of [...openingLines(revoked, done), ...untrackedLines(done)]) context.print(line);
  if (unnoted !== undefined)
    context.tell(
      `knockd-nft: this cannot be noted (${unnoted}): if the table is removed within seconds, the supervisor or an undo may let the clients that it remembers in again`,
    );
  return tellWhatGoesOn(context, revoked, done);
}

function result({ openings }: Revoked, done: Cut | undefined) {
  return {
    event: 'revoked',
    revoked: openings.map(({ service, client, user }) => ({ service, client, user })),
    cut: done
      ? { sockets: done.sockets, left: done.left.length + done.anew, untracked: done.untracked }
      : null,
  };
}

/** One line for each opening, and one for the connections. With at most one opening, both stand on one line. */
function openingLines({ revocation, openings }: Revoked, done: Cut | undefined): string[] {
  const lines = openings.map(
    ({ service, client, user }) => `revoked ${service} from ${client}${user === null ? '' : ` (${user})`}`,
  );
  const [only = nobody(revocation), ...others] = lines;
  const connections = connectionsText(done);
  return others.length === 0 ? [`${only}; ${connections}`] : [...lines, connections];
}

function nobody({ services, whom }: Revocation): string {
  const where = services.length === 1 ? `let in to ${services[0]}` : 'in';
  if (whom.is === 'everybody') return `no client was ${where}`;
  return whom.is === 'client' ? `${whom.client} was not ${where}` : `no client was ${where} as ${whom.name}`;
}

function connectionsText(done: Cut | undefined): string {
  if (!done) return 'running connections go on (--cut ends them)';
  const cut = done.sockets + done.untracked.filter(({ to }) => to !== null).length;
  if (cut > 0) return `${count(cut, 'connection')} cut`;
  return done.untracked.length > 0 ? 'no TCP connection to cut' : 'no connection to cut';
}

/** One line for each kind of connection that has no socket here: what was done about it. */
function untrackedLines(done: Cut | undefined): string[] {
  const text = ({ client, port, to }: Untracked) =>
    to === null
      ? `${client} on ${port}: only its tracking was ended; if a program here goes on sending to the client, the client is let in again`
      : `${client} on ${port}, forwarded to ${to}: only its tracking was ended; ${to} may wait for it a while`;
  return [...new Set(done?.untracked.map(text))];
}

/** Prints which connections could not be ended, and returns the exit status. */
function tellWhatGoesOn(
  { tell }: Context,
  { ruleset, revocation: { whom } }: Revoked,
  done: Cut | undefined,
): number {
  if (whom.is === 'client' && isAllowed(ruleset, whom.family, whom.key))
    tell(`knockd-nft: ${whom.client} still gets in: "allow" in the configuration names it`);
  if (!done) return EXIT.DONE;
  const [first] = done.left;
  if (first)
    tell(
      `knockd-nft: the openings are revoked, but ${count(done.left.length, 'connection')} could not be cut: ${whyNotCut(first)}`,
    );
  if (done.anew > 0)
    tell(
      `knockd-nft: the openings are revoked, but ${count(done.anew, 'connection')} began again each time they were cut, because a program here sends first: stop it, and revoke again`,
    );
  if (done.tracksOn)
    tell(
      `knockd-nft: the openings are revoked, but forwarded connections and UDP could not be cut: ${withoutModules(FEATURES.ctnetlink)}`,
    );
  return first || done.anew > 0 || done.tracksOn ? EXIT.FAILED : EXIT.DONE;
}
