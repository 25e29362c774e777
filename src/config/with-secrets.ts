import { applyEdits, type Edit, findNodeAtLocation, parseTree } from 'jsonc-parser';
import type { Config } from './types.ts';

/** The text of a configuration with each secret in its place, for a copy that needs no other file. Comments stay. */
export function withSecrets(text: string, { services }: Pick<Config, 'services'>): string {
  const root = services.some(({ tokens }) => tokens.length > 0) ? parseTree(text) : undefined;
  const edits = services.flatMap(({ name, tokens }) =>
    tokens.flatMap(({ user, secret }): Edit[] => {
      const node = root && findNodeAtLocation(root, ['services', name, 'tokens', user]);
      if (node?.type !== 'object') return [];
      const { offset, length } = node;
      return [{ offset, length, content: JSON.stringify(Buffer.from(secret).toString('hex')) }];
    }),
  );
  return applyEdits(text, edits);
}
