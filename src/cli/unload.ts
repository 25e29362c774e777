import { unkeptText, withdrawing } from '../feeder/apply.ts';
import { withKernel } from '../host/access.ts';
import { bringBackHold, readHold, runningSupervisor, writeHold } from '../host/hold.ts';
import { forgetUnfinished } from '../supervisor/unfinished.ts';
import { unload } from '../table/load.ts';
import { readKernel } from '../table/read.ts';
import { noteUnload } from '../table/revocations.ts';
import { Writer } from '../table/writer.ts';
import { refuseWhileTrying } from '../trial/notes.ts';
import { type Context, EXIT } from './context.ts';

/** `unload`: removes the table, if there is one. A supervisor would put it back, so a hold must stop it. */
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
  // first, since this process may be killed as soon as the table is gone, and a supervisor that was killed may have left clients
  const unnoted = await noteUnload(context.env);
  const tables = await withKernel(async ({ connection }) => {
    const writer = new Writer(connection);
    return withdrawing(writer, await readKernel(connection), undefined, context.env, unkept => {
      if (unkept !== undefined) context.tell(`knockd-nft: ${unkeptText(unkept)}`);
      return unload(writer);
    });
  }).catch(error => {
    const left = supervisor && bringBackHold(context.env, before);
    if (left !== undefined) context.tell(`knockd-nft: ${left}`);
    throw error;
  });
  const forgotten = forgetUnfinished(context.env);
  if (unnoted !== undefined && (supervisor !== undefined || !forgotten))
    context.tell(
      `knockd-nft: this cannot be noted (${unnoted}): at its next load the supervisor may let the clients that it remembers in again`,
    );
  if (context.json) context.print(JSON.stringify({ event: 'unloaded', tables }));
  else context.print(tables > 0 ? 'unloaded: nothing is guarded any more' : 'nothing was loaded');
  return EXIT.DONE;
}
