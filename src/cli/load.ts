import { withKernel } from '../loader/access.ts';
import { type Loaded, load } from '../loader/load.ts';
import type { Ruleset } from '../nftables/ruleset.ts';
import { compile } from '../ruleset/compile.ts';
import { differences } from '../ruleset/describe.ts';
import { VERSION } from '../version.ts';
import { type Context, count, EXIT, readConfiguration } from './context.ts';
import { changeText } from './diff.ts';

/** `load`: makes the kernel match the file, and says what changed. */
export async function loadCommand(context: Context): Promise<number> {
  const { config } = readConfiguration(context);
  const wanted = compile(config, VERSION);
  const loaded = await withKernel(({ connection, sessions }) => load(connection, wanted, sessions));
  const event = loaded.objects === 0 ? 'unchanged' : loaded.before ? 'swapped' : 'loaded';
  const changes = event === 'swapped' ? differences(loaded.before, wanted) : [];
  if (context.json)
    context.print(
      JSON.stringify({
        event,
        table: config.table,
        services: config.services.map(({ name }) => name),
        objects: loaded.objects,
        sessions: loaded.sessions,
        changes,
      }),
    );
  else {
    context.print(headline(event, wanted, config.services.length, loaded));
    for (const change of changes) context.print(`  ${changeText(change)}`);
  }
  return EXIT.DONE;
}

function headline(
  event: string,
  { table }: Ruleset,
  services: number,
  { objects, sessions }: Loaded,
): string {
  const kept = sessions > 0 ? `, ${count(sessions, 'running connection')} kept` : '';
  if (event === 'unchanged')
    return `unchanged: table inet ${table.name} guards ${count(services, 'service')}`;
  return `${event}: table inet ${table.name} guards ${count(services, 'service')} (${count(objects, 'object')} in one transaction${kept})`;
}
