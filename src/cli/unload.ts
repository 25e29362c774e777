import { withKernel } from '../loader/access.ts';
import { unload } from '../loader/load.ts';
import { type Context, EXIT } from './context.ts';

/** `unload`: removes the table; fine if there is none. */
export async function unloadCommand(context: Context): Promise<number> {
  const tables = await withKernel(({ connection }) => unload(connection));
  if (context.json) context.print(JSON.stringify({ event: 'unloaded', tables }));
  else context.print(tables > 0 ? 'unloaded: nothing is guarded any more' : 'nothing was loaded');
  return EXIT.DONE;
}
