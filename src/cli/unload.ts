import { unkeptText, withdrawing } from '../feeder/apply.ts';
import { withKernel } from '../host/access.ts';
import { bringBackHold, readHold, runningSupervisor, writeHold } from '../host/hold.ts';
import { unload } from '../table/load.ts';
import { readKernel } from '../table/read.ts';
import { refuseWhileTrying } from '../trial/notes.ts';
import { type Context, EXIT } from './context.ts';

/** `unload`: removes the table, if there is one. A supervisor would put it back, so it must be told. */
export async function unloadCommand(context: Context, force: boolean): Promise<number> {
  refuseWhileTrying(context.env);
  const supervisor = runningSupervisor(context.env);
  if (supervisor !== undefined && !force) {
    context.tell(
      `knockd-nft: a supervisor runs (process ${supervisor.pid}) and would load the table again: stop it first (systemctl stop knockd-nft), or use --force to make it leave the table unloaded until the next load`,
    );
    return EXIT.FAILED;
  }
  const before = readHold(context.env);
  if (supervisor !== undefined) writeHold(context.env, { reason: 'unloaded by hand', until: null });
  const tables = await withKernel(async ({ connection }) =>
    withdrawing(connection, await readKernel(connection), undefined, context.env, unkept => {
      if (unkept !== undefined) context.tell(`knockd-nft: ${unkeptText(unkept)}`);
      return unload(connection);
    }),
  ).catch(error => {
    if (supervisor !== undefined) bringBackHold(context.env, before);
    throw error;
  });
  if (context.json) context.print(JSON.stringify({ event: 'unloaded', tables }));
  else context.print(tables > 0 ? 'unloaded: nothing is guarded any more' : 'nothing was loaded');
  return EXIT.DONE;
}
