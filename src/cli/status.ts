import { formatProblem, warningOf } from '../config/problems.ts';
import { configPath } from '../config/read.ts';
import type { Config } from '../config/types.ts';
import { mismatches, mismatchText } from '../doctor/appearance.ts';
import { surroundings } from '../doctor/passage.ts';
import { readWays } from '../doctor/ways.ts';
import { readForeign } from '../firewalls/read.ts';
import type { ForeignTable } from '../firewalls/table.ts';
import { withKernel } from '../host/access.ts';
import { readTroubles } from '../host/hold.ts';
import { troublesOf } from '../host/interfaces.ts';
import { readableWarnings } from '../host/readable.ts';
import type { Status } from '../ruleset/status.ts';
import { clientsIn, clientTable, headline, knockingTable, mistakenText } from '../ruleset/status-text.ts';
import { observe } from '../table/observe.ts';
import { columns } from '../terminal/columns.ts';
import { readUsable } from '../watch/wanted.ts';
import { assess } from './assess.ts';
import { type Context, EXIT, STATES } from './context.ts';
import { readStanding, standingLines } from './standing.ts';
import { tokenStatus, tokenStatusLines } from './token-status.ts';

/** `status`: the clients that are in or knocking, the counts, and whether the kernel has what the file says. */
export async function statusCommand(context: Context, options: { readonly check: boolean }): Promise<number> {
  if (options.check) return checkCommand(context);
  const { env, tell } = context;
  const path = configPath(context.config, env);
  const read = await readUsable(path, env, tell);
  const config = read?.config;
  const { status, loaded, tables } = await withKernel(async ({ connection }) => ({
    ...(await observe(connection, config)),
    tables: await readForeign(connection),
  }));
  const counters = new Map(loaded?.counters.map(({ name, packets }) => [name, packets]));
  const tokens = config && loaded && tokenStatus(config, counters, env);
  const standing = readStanding(env);
  for (const warning of read ? readableWarnings(path, read.secretFiles, env) : [])
    tell(formatProblem(warning));
  context.print(
    context.json
      ? JSON.stringify({ ...status, ...(tokens && { tokens }), ...standing })
      : [
          ...statusLines(status, standing.hold !== null),
          ...(tokens ? tokenStatusLines(tokens) : []),
          ...standingLines(standing),
        ],
  );
  for (const { what, since } of readTroubles(env))
    tell(`knockd-nft: the supervisor, since ${new Date(since).toISOString()}: ${what}`);
  if (config && status.loaded) await warn(config, path, tables, tell);
  return EXIT.DONE;
}

/** `status --check`: one line for a monitor, and its exit status. */
async function checkCommand({ config, env, json, print }: Context): Promise<number> {
  const { state, text, perfdata } = await assess(configPath(config, env), env);
  const line = perfdata === undefined ? text : `${text.replaceAll('|', '/')} | ${perfdata}`;
  print(json ? JSON.stringify({ state, text }) : `${state}: ${line}`);
  return STATES[state];
}

/** Warns of interfaces that nothing comes in by, and of a guarded port that stands out among those that another table stops. */
async function warn(
  config: Config,
  path: string,
  tables: readonly ForeignTable[],
  tell: Context['tell'],
): Promise<void> {
  const here = await readWays(config);
  const around = surroundings(here, { tables, unseen: [] });
  const [first] = mismatches(config, around).filter(({ neighbours }) => neighbours.by !== undefined);
  const messages = [...troublesOf(here.looked), ...(first ? [mismatchText(first)] : [])];
  for (const message of messages) tell(formatProblem(warningOf(path, message)));
}

function statusLines(status: Status, held: boolean): string[] {
  if (!status.loaded) return [headline(status)];
  const services = Object.entries(status.services).map(
    ([name, { ports, clients, opened, accepted, refused }]) =>
      [name, ports.join(' ') || '-', clients.length, opened, accepted, refused].map(String),
  );
  const tables = [
    { head: ['SERVICE', 'PORTS', 'IN', 'OPENED', 'ACCEPTED', 'REFUSED'], rows: services },
    clientTable(clientsIn(status)),
    knockingTable(status.knocking),
  ];
  const shown = tables.filter(({ rows }, index) => index === 0 || rows.length > 0);
  return [
    headline(status, held),
    '',
    ...shown.flatMap(({ head, rows }) => [...columns(head, rows), '']),
    `wrong knocks: ${status.wrongKnocks}${status.mistaken.length > 0 ? `; by ${mistakenText(status.mistaken)}` : ''}`,
  ];
}
