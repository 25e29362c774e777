import { withKernel } from '../host/access.ts';
import { compile } from '../ruleset/compile.ts';
import { changeText, differences } from '../ruleset/describe.ts';
import { planLoad } from '../table/load.ts';
import { readKernel } from '../table/read.ts';
import { VERSION } from '../version.ts';
import { type Context, EXIT, readConfiguration } from './context.ts';

/** `diff`: prints what `load` would change, in the words of the configuration. Status 1 if it would change anything. */
export async function diffCommand(context: Context): Promise<number> {
  const { config } = readConfiguration(context);
  const wanted = compile(config, VERSION);
  const { before, messages } = await withKernel(async ({ connection, sessions }) =>
    planLoad(connection, await readKernel(connection), wanted, sessions, { atOnce: true }),
  );
  const changes = messages.length > 0 ? differences(before, wanted) : [];
  const objects = [...new Set(messages.map(({ subject }) => subject.replace(/^rules of |: rule \d+$/g, '')))];
  if (context.json) context.print(JSON.stringify({ changed: messages.length > 0, changes, objects }));
  else {
    for (const change of changes) context.print(changeText(change));
    // the configuration has no word for these: the table was changed by hand, or another version made it
    if (changes.length === 0)
      for (const object of objects) context.print(`${object}: not as the configuration makes it`);
  }
  return messages.length > 0 ? EXIT.FAILED : EXIT.DONE;
}
