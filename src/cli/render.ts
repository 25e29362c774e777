import { scriptText } from '../nftables/text.ts';
import { compile } from '../ruleset/compile.ts';
import { ownerOf } from '../ruleset/names.ts';
import { readConfiguration } from './configuration.ts';
import { type Context, EXIT } from './context.ts';

/** `render`: the program as an nft script, which may be loaded over another one. It holds the sequences, which are secrets. */
export async function renderCommand(context: Context, file: string | undefined): Promise<number> {
  const { config } = await readConfiguration(context, file);
  const script = scriptText(compile(config), set => ownerOf(set) === 'program');
  context.print(context.json ? JSON.stringify({ nft: script }) : script.trimEnd().split('\n'));
  return EXIT.DONE;
}
