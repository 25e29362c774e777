import { FILE } from './keys.ts';
import { type JsonSchema, object } from './shape.ts';

/** The schema with which editors check `knockd-nft.json`: all but the rules that compare values with each other. */
export function configSchema(): JsonSchema {
  return {
    $schema: 'http://json-schema.org/draft-07/schema#',
    title: 'knockd-nft.json',
    description: 'Configuration of knockd-nft: port knocking in the Linux kernel.',
    // Words of VS Code's JSON service: the file may have comments and trailing commas.
    allowComments: true,
    allowTrailingCommas: true,
    ...object(FILE).schema,
  };
}
