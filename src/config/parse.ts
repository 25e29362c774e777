import { readDuration } from '../inet/duration.ts';
import { mergeNetworks } from '../inet/network.ts';
import { mergePortRanges, type Port, readPort } from '../inet/port.ts';
import { tellConflicts, type Use } from './conflicts.ts';
import { FILE, SERVICE_DEFAULTS, TOKEN_DEFAULTS } from './keys.ts';
import { mergeInterfaces } from './names.ts';
import type { Knocks } from './ports.ts';
import { ConfigError, comparePositions, type Problem, sortProblems } from './problems.ts';
import { Report } from './report.ts';
import { resolveSecret, secretPath } from './secrets.ts';
import { type PlacedSequence, tellSequences } from './sequences.ts';
import { readSettings, type Settings } from './settings.ts';
import { object, type Shape } from './shape.ts';
import { parseTree, type Tree } from './syntax.ts';
import { type PlacedToken, tellTokens } from './tokens.ts';
import type { Config, Sequence, Service, TokenSettings } from './types.ts';

export interface ReadConfig {
  readonly config: Config;
  readonly warnings: readonly Problem[];
  /** Files that hold secrets, as absolute paths. */
  readonly secretFiles: readonly string[];
}

const file = object(FILE);
type FileValues = ValueOf<typeof file>;
type NamedService = NonNullable<FileValues['services']>[number];
type ValueOf<S> = S extends Shape<infer T> ? T : never;

/**
 * Turns the text of a configuration into its meaning. Of files, only those of its secrets are read. `fileName` is for messages. Of `env`, only the
 * variables in the table of keys count. Throws {@link ConfigError} with all that is wrong.
 */
export function parseConfig(text: string, fileName: string, env: NodeJS.ProcessEnv): ReadConfig {
  return understand(readWritten(parseTree(text), fileName, []), env);
}

/** A configuration as it is written, before its files of secrets are read. */
export interface Written extends Pick<ReadConfig, 'secretFiles'> {
  readonly values: FileValues;
  readonly place: string;
  /** The problems of the file itself. */
  readonly found: readonly Problem[];
  readonly report: Report;
}

/**
 * Reads the values. `found` are problems already found in the file itself; a syntax error is thrown alone. `place` is the path that
 * the file is for: names of files of secrets start at its folder.
 */
export function readWritten(
  tree: Tree,
  fileName: string,
  found: readonly Problem[],
  place = fileName,
): Written {
  const report = new Report(fileName);
  if ('wrong' in tree) {
    report.error(tree.at, tree.wrong);
    throw new ConfigError([...found.filter(isError), ...report.problems]);
  }
  const values = file.read(tree.root, report, '') ?? {};
  const secretFiles = (values.services ?? []).flatMap(({ value }) =>
    (value.tokens ?? []).flatMap(({ value: { value: written } }) =>
      'file' in written ? [secretPath(place, written.file)] : [],
    ),
  );
  return { values, place, found, report, secretFiles };
}

/** Hears of each file before it is read, and undefined when it has been read: its file system may hang meanwhile. */
export type Asking = (file: string | undefined) => void;

/** Reads the files of secrets, and turns all into its meaning. Throws {@link ConfigError} with all that is wrong. */
export function understand(
  { values, place, found, report, secretFiles }: Written,
  env: NodeJS.ProcessEnv,
  asking: Asking = () => {},
): ReadConfig {
  const { settings, problems } = readSettings(values, env);
  const tokens = (values.services ?? []).flatMap(service => placedTokens(service, place, report, asking));
  const token = toTokenSettings(values.token);
  tellTogether(values, settings, tokens, token, report);
  const all = sortProblems([...found, ...problems, ...report.problems]);
  const errors = all.filter(isError).length;
  if (errors > 0) throw new ConfigError(all, secretFiles, errors === report.passing);
  return { config: toConfig(values, settings, tokens, token), warnings: all, secretFiles };
}

/** Reports problems that no value shows alone. */
function tellTogether(
  values: FileValues,
  settings: Settings,
  tokens: readonly PlacedToken[],
  token: TokenSettings,
  report: Report,
): void {
  const sequences = (values.services ?? []).flatMap(placedSequences);
  tellSequences(sequences, settings, report);
  tellTokens(tokens, token, report);
  tellConflicts([...uses(values, sequences), ...tokenUses(values, tokens, token)].sort(byPlace), report);
}

const byPlace = (a: Use, b: Use) => comparePositions(a.at, b.at);

/** The token port counts only if there are tokens. A default port is reported at the first of them. */
function tokenUses(
  { token: written }: FileValues,
  [first]: readonly PlacedToken[],
  { port }: TokenSettings,
): readonly Use[] {
  if (!first) return [];
  const at = written?.port?.at ?? first.at;
  return [
    { protocol: port.protocol, first: port.port, last: port.port, kind: 'token', at, where: 'token.port' },
  ];
}

function uses(values: FileValues, sequences: readonly PlacedSequence[]): readonly Use[] {
  const guarded = (values.services ?? []).flatMap(({ name, value }) =>
    (value.ports ?? []).map(
      (port): Use => ({ ...port.value, kind: 'guarded', at: port.at, where: `services.${name}.ports` }),
    ),
  );
  const open = (values.public ?? []).map(
    (port): Use => ({ ...port.value, kind: 'public', at: port.at, where: 'public' }),
  );
  const knocks = sequences.flatMap(({ where, knocks }) =>
    knocks.flatMap((knock, index): readonly Use[] => {
      if (knock === undefined) return [];
      const { protocol, port } = knock.value;
      return [{ kind: 'knock', protocol, first: port, last: port, at: knock.at, where, knock: index + 1 }];
    }),
  );
  return [...guarded, ...open, ...knocks];
}

function placedSequences({ name, value }: NamedService): readonly PlacedSequence[] {
  const where = `services.${name}`;
  const single = value.sequence && {
    at: value.sequence.at,
    where: `${where}.sequence`,
    knocks: value.sequence.value,
  };
  const ofUsers = (value.sequences ?? []).map(({ name: user, value: { at, value: knocks } }) => ({
    at,
    where: `${where}.sequences.${user}`,
    knocks,
  }));
  return single === undefined ? ofUsers : [single, ...ofUsers];
}

/** Reads the secrets that stand in files of their own. */
function placedTokens(
  { name, value }: NamedService,
  place: string,
  report: Report,
  asking: Asking,
): readonly PlacedToken[] {
  return (value.tokens ?? []).map(({ name: user, value: written }) => {
    const where = `services.${name}.tokens.${user}`;
    if ('file' in written.value) asking(secretPath(place, written.value.file));
    const secret = resolveSecret(written, where, place, report);
    if ('file' in written.value) asking(undefined);
    return { at: written.at, where, service: name, user, secret };
  });
}

function toTokenSettings(written: FileValues['token']): TokenSettings {
  return {
    port: written?.port?.value ?? defaultPort(TOKEN_DEFAULTS.port),
    realm: written?.realm ?? TOKEN_DEFAULTS.realm,
    hours: written?.hours ?? TOKEN_DEFAULTS.hours,
    payload: (written?.payload ?? []).map(({ value }) => value),
  };
}

function defaultPort(written: string): Port {
  const outcome = readPort(written);
  if (!outcome.ok) throw new Error(`the default ${written} ${outcome.wrong}`);
  return outcome.value;
}

/** Only for values without errors, so that no required one is missing. */
function toConfig(
  values: FileValues,
  settings: Settings,
  tokens: readonly PlacedToken[],
  token: TokenSettings,
): Config {
  const { closed: _, ...rest } = settings;
  return {
    ...rest,
    services: (values.services ?? []).map(service => toService(service, settings, tokens)),
    token,
    public: mergePortRanges((values.public ?? []).map(port => port.value)),
    allow: mergeNetworks(values.allow ?? []),
    interfaces: mergeInterfaces(values.interfaces ?? []),
  };
}

function toService(
  { name, value }: NamedService,
  settings: Settings,
  tokens: readonly PlacedToken[],
): Service {
  return {
    name,
    ports: (value.ports ?? []).map(port => port.value),
    sequences: toSequences(value),
    tokens: tokens.flatMap(({ service, user, secret }) =>
      service === name && secret !== undefined ? [{ user, secret }] : [],
    ),
    knockTimeout: value.knockTimeout ?? defaultDuration(SERVICE_DEFAULTS.knockTimeout),
    openFor: value.openFor ?? defaultDuration(SERVICE_DEFAULTS.openFor),
    singleUse: value.singleUse ?? SERVICE_DEFAULTS.singleUse,
    closed: value.closed ?? settings.closed,
  };
}

function toSequences({ sequence, sequences }: NamedService['value']): readonly Sequence[] {
  if (sequence !== undefined) return [{ user: null, knocks: toKnocks(sequence.value) }];
  return (sequences ?? []).map(({ name, value }) => ({ user: name, knocks: toKnocks(value.value) }));
}

function toKnocks(knocks: Knocks): readonly Port[] {
  return knocks.flatMap(knock => (knock === undefined ? [] : [knock.value]));
}

function defaultDuration(written: string): number {
  const outcome = readDuration(written);
  if (!outcome.ok) throw new Error(`the default ${written} ${outcome.wrong}`);
  return outcome.value;
}

function isError(problem: Problem): boolean {
  return problem.severity === 'error';
}
