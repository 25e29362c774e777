import { configPath } from '../config/read.ts';
import { withKernel } from '../loader/access.ts';
import { holdText, readHold } from '../loader/hold.ts';
import { observe } from '../loader/observe.ts';
import type { Status } from '../ruleset/status.ts';
import { clientsIn, clientTable, headline, knockingTable } from '../ruleset/status-text.ts';
import { columns } from '../terminal/columns.ts';
import { readWanted } from '../watch/wanted.ts';
import { type Context, EXIT } from './context.ts';

/** `status`: who is in, who is knocking, what was counted, and whether the kernel has what the file says. */
export async function statusCommand(context: Context): Promise<number> {
  const { config, env, tell } = context;
  const wanted = readWanted(configPath(config, env), env, tell);
  const { status } = await withKernel(({ connection }) => observe(connection, wanted));
  const hold = readHold(env);
  context.print(context.json ? JSON.stringify(status) : statusText(status));
  if (hold && !context.json) context.print(`held: ${holdText(hold)}`);
  return EXIT.DONE;
}

function statusText(status: Status): string {
  if (!status.loaded) return headline(status);
  const services = Object.entries(status.services).map(
    ([name, { ports, clients, opened, accepted, refused }]) =>
      [name, ports.join(' '), clients.length, opened, accepted, refused].map(String),
  );
  const tables = [
    { head: ['SERVICE', 'PORTS', 'IN', 'OPENED', 'ACCEPTED', 'REFUSED'], rows: services },
    clientTable(clientsIn(status)),
    knockingTable(status.knocking),
  ];
  const shown = tables.filter(({ rows }, index) => index === 0 || rows.length > 0);
  return [
    headline(status),
    '',
    ...shown.flatMap(({ head, rows }) => [...columns(head, rows), '']),
    `wrong knocks: ${status.wrongKnocks}`,
  ].join('\n');
}
