import { tellConflicts, type Use } from './conflicts.ts';
import { readDuration } from './duration.ts';
import { FILE, SERVICE_DEFAULTS } from './keys.ts';
import { mergeInterfaces } from './names.ts';
import { mergeNetworks } from './networks.ts';
import { type Knocks, mergePortRanges } from './ports.ts';
import { ConfigError, comparePositions, type Problem, sortProblems } from './problems.ts';
import { Report } from './report.ts';
import { type PlacedSequence, tellSequences } from './sequences.ts';
import { readSettings, type Settings } from './settings.ts';
import { object, type Shape } from './shape.ts';
import { parseTree, type Tree } from './syntax.ts';
import type { Config, Port, Sequence, Service } from './types.ts';

export interface ReadConfig {
  readonly config: Config;
  readonly warnings: readonly Problem[];
}

const file = object(FILE);
type FileValues = ValueOf<typeof file>;
type NamedService = NonNullable<FileValues['services']>[number];
type ValueOf<S> = S extends Shape<infer T> ? T : never;

/**
 * Text of a configuration to its meaning, without the file system. `fileName` is for messages; of `env`, only the
 * variables of the table of keys count. Throws {@link ConfigError} with all that is wrong.
 */
export function parseConfig(text: string, fileName: string, env: NodeJS.ProcessEnv): ReadConfig {
  return understand(parseTree(text), fileName, env, []);
}

/** As {@link parseConfig}, with what was already found about the file itself. A syntax error is told alone. */
export function understand(
  tree: Tree,
  fileName: string,
  env: NodeJS.ProcessEnv,
  found: readonly Problem[],
): ReadConfig {
  const report = new Report(fileName);
  if ('wrong' in tree) {
    report.error(tree.at, tree.wrong);
    throw new ConfigError([...found.filter(isError), ...report.problems]);
  }
  const values = file.read(tree.root, report, '') ?? {};
  const { settings, problems } = readSettings(values, env);
  tellTogether(values, settings, report);
  const all = sortProblems([...found, ...problems, ...report.problems]);
  if (all.some(isError)) throw new ConfigError(all);
  return { config: toConfig(values, settings), warnings: all };
}

/** What no value shows alone. */
function tellTogether(values: FileValues, settings: Settings, report: Report): void {
  const sequences = (values.services ?? []).flatMap(placedSequences);
  tellSequences(sequences, settings.strict, report);
  tellConflicts(uses(values, sequences), report);
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
  return [...guarded, ...open, ...knocks].sort((a, b) => comparePositions(a.at, b.at));
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

/** Only for values without errors: then nothing that is required is missing. */
function toConfig(values: FileValues, settings: Settings): Config {
  const { closed: _, ...rest } = settings;
  return {
    ...rest,
    services: (values.services ?? []).map(service => toService(service, settings)),
    public: mergePortRanges((values.public ?? []).map(port => port.value)),
    allow: mergeNetworks(values.allow ?? []),
    interfaces: mergeInterfaces(values.interfaces ?? []),
  };
}

function toService({ name, value }: NamedService, settings: Settings): Service {
  return {
    name,
    ports: (value.ports ?? []).map(port => port.value),
    sequences: toSequences(value),
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
