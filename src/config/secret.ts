import type { Shape } from './shape.ts';

/** A secret as it is written. */
export const SECRET = /^[0-9a-fA-F]{64}$/;

/** The 32 bytes that tokens are derived from. No message shows the written text. */
export const secret: Shape<Uint8Array> = {
  schema: { type: 'string', pattern: SECRET.source },
  read(node, report, where) {
    if (node.kind === 'string' && SECRET.test(node.value)) return Buffer.from(node.value, 'hex');
    return report.wrong(node.at, where, 'this is no secret', '64 hexadecimal digits');
  },
};
