import { randomBytes, randomInt } from 'node:crypto';
import { realpathSync } from 'node:fs';
import { HOST } from '../client/hosts.ts';
import { parseConfig, type ReadConfig } from '../config/parse.ts';
import { formatProblem } from '../config/problems.ts';
import { configPath } from '../config/read.ts';
import { NAMING } from '../config/shape.ts';
import type { Config } from '../config/types.ts';
import { noteFresh, unnotedText } from '../feeder/book.ts';
import { withKernel } from '../host/access.ts';
import { readAnswering } from '../host/answering.ts';
import { editFile, rightsOf } from '../host/edit-file.ts';
import { writeWhole } from '../host/files.ts';
import { follows, holdText, readHold, runningSupervisor } from '../host/hold.ts';
import { makeReadable } from '../host/readable.ts';
import type { Port } from '../inet/port.ts';
import { readHost } from '../init/host.ts';
import { chooseSequences, freePorts } from '../init/sequence.ts';
import { clientsWay } from '../init/steps.ts';
import { isNotPermitted } from '../table/explain.ts';
import { observe } from '../table/observe.ts';
import { shellWord } from '../terminal/shell.ts';
import { refuseWhileTrying } from '../trial/notes.ts';
import {
  addUser,
  type Changed,
  type New,
  removeUser,
  requireUser,
  rotateUser,
  UserError,
} from '../users/change.ts';
import { handoutOf } from '../users/handout.ts';
import { readConfiguration } from './configuration.ts';
import { type Context, EXIT, UsageError } from './context.ts';
import { putInForce, tokensText } from './load.ts';
import { handoutLines, handoutValue } from './user-lines.ts';
import { readKnocks } from './words.ts';

interface UserOptions {
  readonly sequence?: boolean;
  readonly knocks?: string;
  readonly host?: string;
  readonly page?: string;
  readonly qr?: boolean;
}

const VERBS = ['add', 'rotate', 'remove', 'show'] as const;
type Verb = (typeof VERBS)[number];

/** `user`: changes users in the file, and prints what the client needs. */
export async function userCommand(
  context: Context,
  [word = '', service = '', user = '']: readonly string[],
  options: UserOptions,
): Promise<number> {
  const verb = VERBS.find(it => it === word);
  if (!verb) throw new UsageError(`user ${word}: expected user ${VERBS.join('|')} SERVICE USER`);
  if (!NAMING.pattern.test(user))
    throw new UsageError(
      `user ${verb}: ${JSON.stringify(user)} is no user's name: expected ${NAMING.expected}`,
    );
  if (options.page !== undefined && !URL.canParse(options.page))
    throw new UsageError(
      `--page ${options.page} is no URL: expected that of the page, such as https://example.org/knock.html`,
    );
  refuseOptions(verb, options);
  const path = configPath(context.config, context.env);
  const named = { service, user };
  if (verb === 'show') return show(context, path, named, options);
  const { env, tell } = context;
  refuseWhileTrying(env);
  // this reports errors from before the change: after it, nothing may keep the secret from being printed
  const before = await readAnswering(path, env);
  const host = verb === 'remove' ? '' : await hostName(options, env);
  const effect = await effectOf(path, before.config, env);
  const changed = await change(context, path, verb, named, options);
  for (const left of changed.left) tell(`${left} is no longer needed: rm ${shellWord(left)}`);
  for (const { path: secret, shared } of changed.files)
    for (const other of shared)
      tell(
        `${secret} is the secret of ${other.user} of ${other.service}, too, whose client needs the new one: knockd-nft user show ${other.service} ${other.user}`,
      );
  const done = await takeEffect(context, path, effect, changed.secretFiles).catch(notInForce(path));
  const status = done.inForce === 'failed' ? EXIT.FAILED : EXIT.DONE;
  if (status !== EXIT.DONE) tell(`knockd-nft: ${done.text}`);
  const said = { remove: 'removed', add: 'added', rotate: 'rotated' }[verb];
  const handout =
    verb === 'remove' ? undefined : handoutOf(changed.config, userOf(changed, named), user, host);
  if (context.json) {
    const value = handout && (await handoutValue(handout, options.page));
    context.print(JSON.stringify({ event: said, ...named, file: path, inForce: done.inForce, ...value }));
    return status;
  }
  context.print(`${said}: ${user} of ${service}, in ${path}`);
  if (status === EXIT.DONE) context.print(done.text);
  if (handout) context.print(await handoutLines(handout, options, env));
  return status;
}

/** An option that this verb would ignore, since the user would get something else than what was asked for. */
function refuseOptions(verb: Verb, { sequence, knocks }: UserOptions): void {
  if (sequence && verb !== 'add')
    throw new UsageError(
      `--sequence: "user ${verb}" leaves users what they have, tokens or a sequence; it belongs to "user add"`,
    );
  if (knocks === undefined) return;
  if (verb === 'remove' || verb === 'show')
    throw new UsageError(`--knocks ${knocks}: "user ${verb}" makes no sequence`);
  readKnocks(knocks);
}

async function show(
  context: Context,
  path: string,
  named: { readonly service: string; readonly user: string },
  options: UserOptions,
): Promise<number> {
  const { env, json, print } = context;
  const { config } = await readAnswering(path, env);
  const service = requireUser(config, named);
  const handout = handoutOf(config, service, named.user, await hostName(options, env));
  if (json) print(JSON.stringify({ ...named, file: path, ...(await handoutValue(handout, options.page)) }));
  else print(await handoutLines(handout, options, env));
  return EXIT.DONE;
}

async function hostName({ host }: UserOptions, env: NodeJS.ProcessEnv): Promise<string> {
  if (host !== undefined && !HOST.pattern.test(host))
    throw new UsageError(`--host ${JSON.stringify(host)}: expected ${HOST.expected}`);
  return host ?? clientsWay((await readHost(env)).login);
}

/** A change that was written, with the configuration that was judged before that: it has the old secret of a file. */
type Written = Changed & Pick<ReadConfig, 'config' | 'secretFiles'>;

/** The service as its user now gets in. The file is not read for that again, since this might fail. */
function userOf({ config, fresh }: Written, named: { readonly service: string; readonly user: string }) {
  const service = requireUser(config, named);
  const [secret] = fresh;
  if (!secret) return service;
  return {
    ...service,
    tokens: service.tokens.map(it => (it.user === named.user ? { ...it, secret } : it)),
  };
}

/** Edits the file. Writes nothing unless the result is a valid configuration. */
async function change(
  { env, tell }: Context,
  path: string,
  verb: Exclude<Verb, 'show'>,
  named: { readonly service: string; readonly user: string },
  options: UserOptions,
): Promise<Written> {
  const host = await readHost(env);
  return editFile(path, async text => {
    const { config } = parseConfig(text, path, env);
    let isSequenceMade = false;
    const make: New = {
      secret: () => randomBytes(32),
      sequence() {
        isSequenceMade = true;
        return newSequence(config, host, options.knocks);
      },
    };
    const kind = options.sequence ? 'sequence' : 'token';
    const changed =
      verb === 'add'
        ? addUser(text, config, named, kind, make)
        : verb === 'rotate'
          ? rotateUser(text, config, named, path, make)
          : removeUser(text, config, named, path);
    if (options.knocks !== undefined && !isSequenceMade)
      throw new UsageError(
        `--knocks ${options.knocks}: tokens have no knocks${verb === 'add' ? '; add --sequence to make a sequence' : ''}`,
      );
    const { config: after, warnings, secretFiles } = parseConfig(changed.text, path, env);
    for (const warning of warnings) tell(formatProblem(warning));
    try {
      const { realm } = after.token;
      const services = [named, ...changed.files.flatMap(({ shared }) => shared)].map(it => it.service);
      const keys = changed.fresh.flatMap(secret => services.map(service => ({ secret, realm, service })));
      if (keys.length > 0) await noteFresh(env, keys);
    } catch (error) {
      tell(unnotedText(error));
    }
    for (const { path: file, secret } of changed.files) {
      const real = realpathSync(file);
      writeWhole(real, `${Buffer.from(secret).toString('hex')}\n`, rightsOf(real));
    }
    return { text: changed.text, result: { ...changed, config: after, secretFiles } };
  });
}

/** Random TCP ports that nothing here uses, and that no other sequence has. */
function newSequence(
  config: Config,
  host: Awaited<ReturnType<typeof readHost>>,
  word: string | undefined,
): readonly Port[] {
  const knocks = readKnocks(word);
  const used = config.services.flatMap(({ sequences }) => sequences.flatMap(it => it.knocks));
  const taken = [
    ...config.public,
    ...config.services.flatMap(({ ports }) => ports),
    ...used.map(({ protocol, port }) => ({ protocol, first: port, last: port })),
  ];
  const [sequence] = chooseSequences(1, knocks, freePorts(host, taken), randomInt) ?? [];
  if (!sequence)
    throw new UserError('this host has too few free ports for so many knocks; use fewer --knocks');
  return sequence.map(port => ({ protocol: 'tcp', port }));
}

/** The effect that a change of the file will have, judged before it. */
type Effect =
  | { readonly is: 'supervised' }
  | { readonly is: 'held'; readonly why: string }
  | { readonly is: 'load' }
  | { readonly is: 'typed'; readonly why: string; readonly type: string };

async function effectOf(path: string, before: Config, env: NodeJS.ProcessEnv): Promise<Effect> {
  const word = shellWord(path);
  const supervisor = runningSupervisor(env);
  const hold = readHold(env);
  if (supervisor) {
    if (!follows(supervisor, path))
      return {
        is: 'typed',
        why: 'this is not the file that the supervisor follows',
        type: `knockd-nft try ${word}`,
      };
    return hold ? { is: 'held', why: holdText(hold) } : { is: 'supervised' };
  }
  const load = `knockd-nft --config ${word} load`;
  try {
    const { status } = await withKernel(({ connection }) => observe(connection, before));
    if (!status.loaded) return { is: 'typed', why: 'nothing is loaded', type: load };
    if (!status.inSync)
      return { is: 'typed', why: 'the kernel was not as the file said before, either', type: load };
    return { is: 'load' };
  } catch (error) {
    if (!isNotPermitted(error)) throw error;
    return { is: 'typed', why: 'this user may not change the kernel', type: `sudo ${load}` };
  }
}

interface InForce {
  readonly inForce: 'now' | 'soon' | 'no' | 'failed';
  readonly text: string;
}

/** The file is changed by now, whether or not the kernel is. */
const notInForce =
  (path: string) =>
  (error: unknown): InForce => ({
    inForce: 'failed',
    text: `NOT IN FORCE YET: ${error instanceof Error ? error.message : error}; to put it in force: knockd-nft --config ${shellWord(path)} load`,
  });

async function takeEffect(
  context: Context,
  path: string,
  effect: Effect,
  secretFiles: readonly string[],
): Promise<InForce> {
  switch (effect.is) {
    case 'supervised':
      makeReadable(path, secretFiles, context);
      return { inForce: 'soon', text: 'the supervisor puts it in force by itself, within a second' };
    case 'held':
      return {
        inForce: 'no',
        text: `NOT IN FORCE YET: held (${effect.why}); "knockd-nft load" puts it in force`,
      };
    case 'typed':
      return { inForce: 'no', text: `NOT IN FORCE YET: ${effect.why}; to put it in force: ${effect.type}` };
    case 'load': {
      const quiet = { ...context, tell: () => {} }; // its warnings were printed
      const { feeding } = await putInForce(context, await readConfiguration(quiet, path));
      return {
        inForce: 'now',
        text: `in force now${feeding.is === 'none' ? '' : `; ${tokensText(feeding)}`}`,
      };
    }
  }
}
