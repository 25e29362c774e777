import { rulesetText } from '../nftables/text.ts';
import { compile } from '../ruleset/compile.ts';
import { VERSION } from '../version.ts';
import { type Context, EXIT, readConfiguration } from './context.ts';

/** `render`: the program as an nft script. It holds the sequences: they are secrets. */
export async function renderCommand(context: Context, file: string | undefined): Promise<number> {
  const { config } = readConfiguration(context, file);
  const script = rulesetText(compile(config, VERSION));
  context.print(context.json ? JSON.stringify({ nft: script }) : script.trimEnd());
  return EXIT.DONE;
}
