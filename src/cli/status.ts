import { ConfigError } from '../config/problems.ts';
import { configPath, readConfig } from '../config/read.ts';
import type { Config } from '../config/types.ts';
import { type Access, withKernel } from '../loader/access.ts';
import { holdText, readHold } from '../loader/hold.ts';
import { readKernel, withState } from '../loader/kernel.ts';
import { ForeignTableError, planLoad } from '../loader/load.ts';
import { compile } from '../ruleset/compile.ts';
import { emptyStatus, readStatus, type Status } from '../ruleset/status.ts';
import { columns } from '../terminal/columns.ts';
import { VERSION } from '../version.ts';
import { type Context, EXIT } from './context.ts';

/** `status`: who is in, who is knocking, what was counted, and whether the kernel has what the file says. */
export async function statusCommand(context: Context): Promise<number> {
  const config = configuration(context);
  const status = await withKernel(access => currentStatus(access, config));
  const hold = readHold(context.env);
  context.print(context.json ? JSON.stringify(status) : statusText(status));
  if (hold && !context.json) context.print(`held: ${holdText(hold)}`);
  return EXIT.DONE;
}

/** The configuration, or undefined where it cannot be used: the kernel has something to tell all the same. */
function configuration({ config, env, tell }: Context): Config | undefined {
  try {
    return readConfig(configPath(config, env), env).config;
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error;
    tell(error.message);
    return undefined;
  }
}

async function currentStatus({ connection }: Access, config: Config | undefined): Promise<Status> {
  const kernel = await readKernel(connection);
  const loaded = kernel.ours.find(({ table }) => table.name === config?.table) ?? kernel.ours[0];
  if (!loaded) return emptyStatus(config?.table ?? 'knockd');
  return readStatus(await withState(connection, loaded), config ? await inSync() : null);

  async function inSync(): Promise<boolean> {
    if (!config) return false;
    try {
      return (
        (await planLoad(connection, kernel, compile(config, VERSION), async () => [])).messages.length === 0
      );
    } catch (error) {
      if (error instanceof ForeignTableError) return false;
      throw error;
    }
  }
}

const SYNC = new Map([
  [true, 'as the configuration says'],
  [false, 'not as the configuration says: "knockd-nft load" makes it so'],
  [null, 'the configuration cannot be used'],
]);

function statusText(status: Status): string {
  if (!status.loaded) return 'not loaded: nothing is guarded';
  const lines = [`table inet ${status.table}: ${SYNC.get(status.inSync)}`, ''];
  lines.push(
    ...columns(
      ['SERVICE', 'PORTS', 'IN', 'OPENED', 'ACCEPTED', 'REFUSED'],
      Object.entries(status.services).map(([name, { ports, clients, opened, accepted, refused }]) =>
        [name, ports.join(' '), clients.length, opened, accepted, refused].map(String),
      ),
    ),
  );
  const clients = Object.entries(status.services).flatMap(([name, service]) =>
    service.clients.map(({ address, user, expires }) => [address, name, user ?? '-', left(expires)]),
  );
  if (clients.length > 0) lines.push('', ...columns(['CLIENT', 'SERVICE', 'USER', 'LEFT'], clients));
  const knocking = status.knocking.map(({ address, service, user, step, of, expires }) => [
    address,
    service,
    user ?? '-',
    `${step}/${of}`,
    left(expires),
  ]);
  if (knocking.length > 0)
    lines.push('', ...columns(['KNOCKING', 'SERVICE', 'USER', 'STEP', 'LEFT'], knocking));
  lines.push('', `wrong knocks: ${status.wrongKnocks}`);
  return lines.join('\n');
}

function left(expires: number | null): string {
  return expires === null ? 'for good' : `${expires.toFixed(1)}s`;
}
