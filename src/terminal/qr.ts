import { renderUnicodeCompact } from 'uqr';
import type { Paint } from './paint.ts';

/**
 * A text as a QR code of half blocks, two rows a line. Blocks are its light parts: where there is colour, it is light on dark
 * whatever the terminal is; else it is for a dark one, and phones read the other way round, too.
 */
export function qrLines(text: string, paint: Paint): string[] {
  return renderUnicodeCompact(text, { ecc: 'L', border: 2 })
    .split('\n')
    .map(line => paint(['whiteBright', 'bgBlack'], line));
}
