import convict from 'convict';
import { FILE } from './keys.ts';
import type { Problem } from './problems.ts';
import { Report } from './report.ts';
import type { Key, Keys, Values } from './shape.ts';

/** Keys that need more than a default: `parse.ts` checks their values and puts them together. */
const READ_APART = ['$schema', 'services', 'token', 'public', 'allow', 'interfaces'] as const;

type Name = Exclude<keyof typeof FILE, (typeof READ_APART)[number]>;
type ValueOf<K> = K extends { readonly shape: { readonly keys: infer G extends Keys } }
  ? Required<Values<G>>
  : K extends Key<infer T>
    ? T
    : never;

/** All other keys of the file, with their defaults; `closed` is the default of the services. */
export type Settings = { readonly [N in Name]: ValueOf<(typeof FILE)[N]> };

const SETTINGS: Keys = Object.fromEntries(
  Object.entries(FILE).filter(([name]) => !READ_APART.some(apart => apart === name)),
);

/** The environment comes before the file, the file before defaults. With problems in the environment the settings are of no use. */
export function readSettings(
  fromFile: Readonly<Record<string, unknown>>,
  env: NodeJS.ProcessEnv,
): { readonly settings: Settings; readonly problems: readonly Problem[] } {
  const used: Record<string, string> = {};
  const problems: Problem[] = [];
  const schema = settingsSchema(SETTINGS, (variable, key, where) => {
    const value = env[variable] ?? '';
    if (value === '') return; // an empty variable is an unset one
    const report = new Report(variable, false);
    key.shape.read({ kind: 'string', at: { line: 1, column: 1 }, value }, report, where);
    problems.push(...report.problems);
    used[variable] = value;
  });
  const known = Object.entries(fromFile).filter(([name]) => Object.hasOwn(SETTINGS, name));
  const settings = convict<Settings>(schema as convict.Schema<Settings>, { env: used, args: [] });
  settings.load(Object.fromEntries(known));
  return { settings: settings.getProperties(), problems };
}

/**
 * The table of keys in convict's words: it puts defaults, file and environment together. Any format will do, since the
 * values were checked before: convict's own checks name no line and column, and cannot handle maps whose keys the
 * author chooses.
 */
function settingsSchema(
  keys: Keys,
  onVariable: (variable: string, key: Key, where: string) => void,
  prefix = '',
): Record<string, unknown> {
  return Object.fromEntries(
    Object.entries(keys).map(([name, key]) => {
      const where = `${prefix}${name}`;
      const members = membersOf(key);
      if (members) return [name, settingsSchema(members, onVariable, `${where}.`)];
      if (key.env !== undefined) onVariable(key.env, key, where);
      const env = key.env === undefined ? {} : { env: key.env };
      return [name, { format: '*', doc: key.doc, default: key.default, ...env }];
    }),
  );
}

/** The keys of an object; undefined for a single value. */
function membersOf({ shape }: Key): Keys | undefined {
  return 'keys' in shape ? (shape.keys as Keys) : undefined;
}
