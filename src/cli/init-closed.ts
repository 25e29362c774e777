import type { Closed, Config } from '../config/types.ts';
import { mismatches } from '../doctor/appearance.ts';
import { surroundings } from '../doctor/passage.ts';
import { readWays } from '../doctor/ways.ts';
import { readForeign } from '../firewalls/read.ts';
import type { ForeignTable } from '../firewalls/table.ts';
import { withKernel } from '../host/access.ts';

/** The first one is the default. */
const CLOSED = ['drop', 'reject'] as const satisfies readonly Closed[];

/** What guarded ports have to show here to look like those beside them; the default where we may not look. */
export async function fittingClosed(config: Config): Promise<Closed> {
  const tables = await withKernel(({ connection }) => readForeign(connection)).catch(
    (): readonly ForeignTable[] | undefined => undefined,
  );
  if (!tables) return CLOSED[0];
  const around = surroundings(readWays(config), { tables, unseen: [] });
  const outstanding = (closed: Closed) =>
    mismatches({ ...config, services: config.services.map(service => ({ ...service, closed })) }, around)
      .length;
  return CLOSED.reduce((best, closed) => (outstanding(closed) < outstanding(best) ? closed : best));
}
