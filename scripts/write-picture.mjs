/**
 * docs/demo.svg: what `npm start` shows, as a picture for the README. The demo runs for real, on a terminal that script(1)
 * makes; of its chapters those stay that say the most.
 */
import { spawnSync } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { stripVTControlCharacters } from 'node:util';

const root = dirname(dirname(fileURLToPath(import.meta.url)));
const chapters = [
  'Closed',
  'The client knocks, and the kernel counts',
  'Open',
  'A knock that nobody can repeat',
];

const demo = `${process.execPath} ${join(root, 'dist/knockd-nft.cjs')} demo`;
const { status, stdout, stderr } = spawnSync('script', ['-qec', demo, '/dev/null'], {
  cwd: root,
  encoding: 'utf8',
  env: { ...process.env, TERM: 'xterm-256color' },
});
if (status !== 0) throw new Error(`the demo failed: ${stderr || stdout}`);

/** In grey and yellow: commands and their output. */
const isCommand = line => ['\x1b[33m', '\x1b[90m'].some(colour => line.trimStart().startsWith(colour));

/** Terminal control: a line that was written over counts as it stood last. */
const lines = stdout
  .split('\n')
  .map(line => line.replace(/\r$/, '').split('\r').at(-1)?.replaceAll('\x1b[K', '') ?? '')
  .slice(1);

const shown = [];
let isShown = false;
for (const line of lines) {
  const title = stripVTControlCharacters(line).match(/^\d+\. (.*)$/)?.[1];
  if (title !== undefined) isShown = chapters.includes(title);
  if (
    isShown &&
    !isCommand(line) &&
    (stripVTControlCharacters(line) !== '' || stripVTControlCharacters(shown.at(-1) ?? '') !== '')
  )
    shown.push(line);
}
while (stripVTControlCharacters(shown.at(-1) ?? '') === '') shown.pop();

const COLOURS = { 31: '#f47067', 32: '#6bc46d', 33: '#daaa3f', 36: '#56d4dd', 90: '#8b949e' };
const escaped = text => text.replaceAll('&', '&amp;').replaceAll('<', '&lt;');

/** A line of the terminal as SVG. */
function drawn(line) {
  let colour;
  let weight;
  return line
    .split('\x1b[')
    .map((part, index) => {
      const [, code, text] =
        index === 0 ? [null, null, part] : (part.match(/^(\d*)m(.*)$/) ?? [null, null, '']);
      if (code === '1') weight = 'bold';
      if (code === '22' || code === '0' || code === '') weight = undefined;
      if (code === '39' || code === '0' || code === '') colour = undefined;
      if (code in COLOURS) colour = COLOURS[code];
      const fill = colour ? ` fill="${colour}"` : '';
      const bold = weight ? ` font-weight="${weight}"` : '';
      return text === '' ? '' : `<tspan${fill}${bold}>${escaped(text)}</tspan>`;
    })
    .join('');
}

const [wide, high, edge] = [7.25, 18, 16]; // a character of 12 px, a line, the margin
const width =
  Math.ceil(Math.max(...shown.map(line => stripVTControlCharacters(line).length)) * wide) + 2 * edge;
const height = shown.length * high + 2 * edge;
const text = shown.map(
  (line, index) =>
    `<text x="${edge}" y="${edge + 13 + index * high}" xml:space="preserve">${drawn(line)}</text>`,
);
writeFileSync(
  join(root, 'docs/demo.svg'),
  `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${height}" width="${width}" height="${height}" role="img" aria-label="npm start: a port closed, opened by knocks, and opened by a one-time token that does not work again">
<rect width="100%" height="100%" rx="8" fill="#22272e"/>
<g font-family="ui-monospace, SFMono-Regular, Menlo, Consolas, 'DejaVu Sans Mono', monospace" font-size="12" fill="#cdd9e5">
${text.join('\n')}
</g>
</svg>
`,
);
console.log(`docs/demo.svg: ${shown.length} lines of ${lines.length}`);
