import { randomBytes, randomInt } from 'node:crypto';
import { existsSync, realpathSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { TOKEN_DEFAULTS } from '../config/keys.ts';
import { parseConfig } from '../config/parse.ts';
import { formatProblem } from '../config/problems.ts';
import { configPath, DEFAULT_PATH } from '../config/read.ts';
import { NAMING } from '../config/shape.ts';
import { fittingClosed } from '../doctor/appearance.ts';
import { surroundings } from '../doctor/passage.ts';
import { readWays } from '../doctor/ways.ts';
import { noteFresh, unnotedText } from '../feeder/book.ts';
import { readForeign } from '../firewalls/read.ts';
import { withKernel } from '../host/access.ts';
import { follows, runningSupervisor } from '../host/hold.ts';
import { readableWarnings } from '../host/readable.ts';
import { formatAddress } from '../inet/address.ts';
import { formatNetwork, readNetwork } from '../inet/network.ts';
import { formatPortRange, overlap } from '../inet/port.ts';
import { type Choice, readChoices } from '../init/choice.ts';
import { type Draft, PACKAGED_SCHEMA, writeDraft } from '../init/document.ts';
import { type Found, findServices, isForwarded } from '../init/found.ts';
import { type Host, readHost } from '../init/host.ts';
import { findPlace, RefusedError, writePlace } from '../init/place.ts';
import { chooseSequences, freePorts } from '../init/sequence.ts';
import { shippedConfiguration } from '../init/shipped.ts';
import { clientsWay, nextSteps } from '../init/steps.ts';
import { NetlinkError } from '../netlink/errors.ts';
import { isNotPermitted } from '../table/explain.ts';
import { NoAnswerError } from '../terminal/ask.ts';
import { textWidth } from '../terminal/wrap.ts';
import { handoutOf } from '../users/handout.ts';
import { type Context, EXIT, UsageError } from './context.ts';
import { type Answers, askQuestions, type Given } from './init-questions.ts';
import { readKnocks } from './words.ts';

/** The exit status that shells give for Ctrl-C. */
const INTERRUPTED = 130;

interface InitOptions {
  readonly service?: readonly string[];
  readonly knocks?: string;
  readonly allow?: readonly string[];
  readonly force?: boolean;
  readonly yes?: boolean;
  readonly tokens?: string;
}

/** `init`: writes a first configuration. On a terminal it asks for the answers that no option gives. */
export async function initCommand(context: Context, options: InitOptions): Promise<number> {
  try {
    return await init(context, options);
  } catch (error) {
    if (error instanceof NoAnswerError) {
      context.tell('knockd-nft init: nothing was written');
      return error.interrupted ? INTERRUPTED : EXIT.FAILED;
    }
    if (error instanceof RefusedError) {
      context.tell(`knockd-nft init: ${error.message}`);
      return error.permission ? EXIT.NOT_PERMITTED : EXIT.FAILED;
    }
    throw error;
  }
}

async function init(context: Context, options: InitOptions): Promise<number> {
  const { env, json, print } = context;
  const knocks = readKnocks(options.knocks);
  const user = readWay(options);
  const allow = options.allow?.map(readAllowed);
  const config = resolve(configPath(context.config, env));
  const { force = false } = options;
  const example = shippedConfiguration;
  const place = findPlace(config, { supervised: isFollowed(config, env), force, example });
  const host = await readHost(env);
  const found = findServices(host);
  const services = options.service && readServices(options.service, found);
  const answers = await complete(context, { services, allow, user }, host, found, options.yes);
  const draft = await disguised(makeDraft(answers, knocks, host, found), example, context);
  const text = writeDraft(example, draft);
  const { config: meant, secretFiles } = parseConfig(text, place.path, {});
  await noteSecrets(draft, context);
  const copy = writePlace(place, text);
  for (const warning of readableWarnings(place.path, secretFiles, env)) context.tell(formatProblem(warning));
  if (json) {
    const { path: file, candidate } = place;
    const services = draft.services.map(({ token, ...it }) => ({
      ...it,
      ports: it.ports.map(formatPortRange),
      ...(token && { token: { ...token, secret: Buffer.from(token.secret).toString('hex') } }),
    }));
    const { allow, hook, closed } = draft;
    print(JSON.stringify({ file, candidate, copy, services, allow, hook, closed }));
    return EXIT.DONE;
  }
  const way = clientsWay(host.login);
  const written = {
    ...{ place, config, copy, draft },
    handouts: meant.services.flatMap(service =>
      service.tokens.map(it => handoutOf(meant, service, it.user, way)),
    ),
    isDefault: config === DEFAULT_PATH,
    host: way,
    sudo: process.geteuid?.() !== 0 || env.SUDO_USER !== undefined,
  };
  for (const line of nextSteps(written, textWidth(process.stdout))) print(line);
  return EXIT.DONE;
}

function readAllowed(written: string): string {
  const network = readNetwork(written);
  if (!network.ok) throw new UsageError(`--allow ${written} ${network.wrong}: expected ${network.expected}`);
  return formatNetwork(network.value);
}

function readServices(words: readonly string[], found: readonly Found[]): readonly Choice[] {
  const services = readChoices(words, found);
  if (!services.ok) throw new UsageError(`--service: ${services.wrong}: expected ${services.expected}`);
  return services.value;
}

/** A supervisor would put the file in force as soon as it is written. */
function isFollowed(config: string, env: NodeJS.ProcessEnv): boolean {
  const supervisor = runningSupervisor(env);
  return supervisor !== undefined && follows(supervisor, config);
}

/**
 * Fills in the answers that no option gave. It asks on a terminal. Elsewhere it takes the usual answers, and says so.
 */
async function complete(
  { json, tell, env }: Context,
  given: Given,
  host: Host,
  found: readonly Found[],
  yes = false,
): Promise<Answers> {
  const usual = found.filter(({ name }) => name === 'ssh');
  const [ssh = { name: 'ssh', ports: [{ protocol: 'tcp', first: 22, last: 22 }] }] = usual;
  const login = host.login && formatAddress(host.login.from);
  if (process.stdin.isTTY && process.stderr.isTTY && !json && !yes)
    return askQuestions(given, { found, usual: ssh, login, env });
  if (!given.services) {
    const why = usual.length > 0 ? 'listens there' : 'no SSH server was found here';
    tell(
      `hides ssh on ${ssh.ports.map(formatPortRange).join(', ')} (${why}); --service NAME=PORTS hides other ports`,
    );
  }
  if (!given.allow && login !== undefined)
    tell(
      `${login}, from which you are logged in, must knock, too; --allow ${login} lets it in without a knock`,
    );
  return { services: given.services ?? [ssh], allow: given.allow ?? [], user: given.user ?? null };
}

function readWay({ tokens, knocks }: InitOptions): Given['user'] {
  if (tokens === undefined) return knocks === undefined ? undefined : null;
  if (knocks !== undefined)
    throw new UsageError('--tokens and --knocks: tokens have no knocks; expected one of the two');
  if (NAMING.pattern.test(tokens)) return tokens;
  throw new UsageError(`--tokens ${JSON.stringify(tokens)}: expected a user, ${NAMING.expected}`);
}

/** Notes new secrets, so that their first tokens open, too. */
async function noteSecrets({ services }: Draft, { env, tell }: Context): Promise<void> {
  const { realm } = TOKEN_DEFAULTS;
  const keys = services.flatMap(({ name, token }) =>
    token ? [{ secret: token.secret, realm, service: name }] : [],
  );
  if (keys.length === 0) return;
  await noteFresh(env, keys).catch(error => tell(unnotedText(error)));
}

function makeDraft(answers: Answers, knocks: number, host: Host, found: readonly Found[]): Draft {
  const { services, allow, user } = answers;
  const ports = services.flatMap(service => service.ports);
  const sequences =
    user === null ? chooseSequences(services.length, knocks, freePorts(host, ports), randomInt) : [];
  if (!sequences)
    throw new UsageError(
      'this host has too few free ports for so many knocks; use fewer --service, or fewer --knocks',
    );
  const forwarded = found.filter(isForwarded).flatMap(it => it.ports);
  return {
    services: services.map(({ name, ports }, index) => ({
      ...{ name, ports },
      ...(user === null
        ? { sequence: sequences[index] ?? [] }
        : { sequence: [], token: { user, secret: randomBytes(32) } }),
    })),
    allow,
    hook: ports.some(port => forwarded.some(it => overlap(it, port))) ? 'prerouting' : 'input',
    closed: 'drop',
    schema: findSchema(),
  };
}

/** Gives each service the look of the ports beside it, as `doctor` judges it, if we may read the tables of others. */
async function disguised(draft: Draft, example: string, { tell }: Context): Promise<Draft> {
  const { config } = parseConfig(writeDraft(example, draft), '', {});
  const tables = await withKernel(({ connection }) => readForeign(connection)).catch(error => {
    if (!(error instanceof NetlinkError)) throw error;
    if (!isNotPermitted(error))
      tell(`the neighbouring ports cannot be probed (${error.message}): "closed" is "${draft.closed}"`);
    return undefined;
  });
  if (!tables) return draft;
  const around = surroundings(await readWays(config), { tables, unseen: [] });
  const looks = new Map(config.services.map(it => [it.name, fittingClosed(it, config, around) ?? it.closed]));
  const closed = looks.get(draft.services[0]?.name ?? '') ?? draft.closed;
  const services = draft.services.map(service => {
    const look = looks.get(service.name);
    return look === undefined || look === closed ? service : { ...service, closed: look };
  });
  return { ...draft, closed, services };
}

/** The schema of the package, or of the clone that this program is in. */
function findSchema(): string | null {
  const ofClone = join(dirname(realpathSync(process.argv[1] ?? '')), '../config/knockd-nft.schema.json');
  return [PACKAGED_SCHEMA, ofClone].find(existsSync) ?? null;
}
