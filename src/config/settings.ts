import convict from 'convict';
import { SETTINGS } from './keys.ts';
import type { Problem } from './problems.ts';
import { Report } from './report.ts';
import type { Key, Keys } from './shape.ts';
import type { Closed, Config } from './types.ts';

/** The keys of the file that are single values; `closed` is the default of the services. */
export type Settings = Omit<Config, 'services' | 'token' | 'public' | 'allow' | 'interfaces'> & {
  readonly closed: Closed;
};

type Groups = { readonly [name: string]: Key | Keys };

/** Environment before file before defaults. What is wrong in the environment is told; then the settings are of no use. */
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

/** The table of keys in convict's words. Any format will do: what comes in has been checked. */
function settingsSchema(
  groups: Groups,
  onVariable: (variable: string, key: Key, where: string) => void,
  prefix = '',
): Record<string, unknown> {
  return Object.fromEntries(
    Object.entries(groups).map(([name, entry]) => {
      const where = `${prefix}${name}`;
      if (!isKey(entry)) return [name, settingsSchema(entry, onVariable, `${where}.`)];
      if (entry.env !== undefined) onVariable(entry.env, entry, where);
      const env = entry.env === undefined ? {} : { env: entry.env };
      return [name, { format: '*', doc: entry.doc, default: entry.default, ...env }];
    }),
  );
}

function isKey(entry: Key | Keys): entry is Key {
  return 'shape' in entry && 'doc' in entry;
}
