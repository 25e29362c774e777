import { renderUnicodeCompact } from 'uqr';
import type { Paint } from './paint.ts';

/**
 * A text as a QR code of half blocks, two rows a line. The blocks are its light parts. With colour they are light on dark on
 * any terminal. Without, the code is made for a dark terminal, and phones also read it the other way round.
 */
export function qrLines(text: string, paint: Paint): string[] {
  return renderUnicodeCompact(text, { ecc: 'L', border: 2 })
    .split('\n')
    .map(line => paint(['whiteBright', 'bgBlack'], line));
}
