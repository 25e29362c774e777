import { withKernel } from '../host/access.ts';
import { objectName } from '../nftables/change.ts';
import { transactionText } from '../nftables/text.ts';
import { compile } from '../ruleset/compile.ts';
import { changeText, differences } from '../ruleset/describe.ts';
import { decompile } from '../ruleset/program.ts';
import { planLoad } from '../table/load.ts';
import { readKernel } from '../table/read.ts';
import { readConfiguration } from './configuration.ts';
import { type Context, EXIT } from './context.ts';

/**
 * `diff`: prints what `load` would change, in the words of the configuration, or of nft. Status 1 if it would change anything.
 * The script for nft holds the sequences, which are secrets.
 */
export async function diffCommand(context: Context, { nft }: { readonly nft: boolean }): Promise<number> {
  const { config } = await readConfiguration(context);
  const wanted = compile(config);
  const { before, changes: transaction } = await withKernel(async ({ connection, sessions }) =>
    planLoad(connection, await readKernel(connection), wanted, sessions, { atOnce: true }),
  );
  if (nft) {
    const script = transactionText(transaction, [...wanted.sets, ...(before?.sets ?? [])]);
    context.print(context.json ? JSON.stringify({ nft: script }) : script.trimEnd().split('\n'));
    return transaction.length > 0 ? EXIT.FAILED : EXIT.DONE;
  }
  const changes = transaction.length > 0 ? differences(before && decompile(before), decompile(wanted)) : [];
  const objects = [...new Set(transaction.map(({ object }) => objectName(object)))];
  if (context.json) context.print(JSON.stringify({ changed: transaction.length > 0, changes, objects }));
  else {
    for (const change of changes) context.print(changeText(change));
    // the configuration has no word for these: the table was changed by hand, or another version made it
    if (changes.length === 0)
      for (const object of objects) context.print(`${object}: not as the configuration makes it`);
  }
  return transaction.length > 0 ? EXIT.FAILED : EXIT.DONE;
}
