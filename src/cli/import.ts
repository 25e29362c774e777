import { createReadStream, statSync } from 'node:fs';
import { readBytes } from '../config/file.ts';
import { parseConfig } from '../config/parse.ts';
import { readWellKnown } from '../host/well-known.ts';
import { type Conversion, convert } from '../import/convert.ts';
import type { Note } from '../import/door.ts';
import { parseKnockdConf } from '../import/knockd-conf.ts';
import { count } from '../ruleset/describe.ts';
import { type Context, EXIT } from './context.ts';

/** Enough for thousands of doors. */
const MAX_BYTES = 1024 * 1024;
const STDIN = '-';

/**
 * `import`: turns a knockd.conf into a configuration, prints it, and says what differs. Status 1 if no door could be
 * carried over, 78 if it is no knockd.conf.
 */
export async function importCommand({ json, print, tell }: Context, path: string): Promise<number> {
  const file = path === STDIN ? 'standard input' : path;
  const bytes = await read(path);
  if (bytes.length > MAX_BYTES) {
    tell(`${file}: too large for a knockd.conf; expected at most 1 MiB`);
    return EXIT.CONFIG;
  }
  const conf = parseKnockdConf(bytes.toString('utf8'));
  if ('problems' in conf) {
    for (const { line, message } of conf.problems) tell(`${file}:${line}: ${message}`);
    return EXIT.CONFIG;
  }
  const conversion = convert(conf, file, readWellKnown().portOf);
  const { text, configuration = null, notes } = conversion;
  if (text !== undefined) parseConfig(text, file, {}); // what we print is valid, or we have a bug
  if (json) print(JSON.stringify({ configuration, notes: notes.map(note => ({ file, ...note })) }));
  else if (text !== undefined) print(text.split('\n'));
  if (!json) {
    for (const note of notes) tell(noteText(file, note));
    tell(summary(conversion, conf.doors.length));
  }
  return text === undefined ? EXIT.FAILED : EXIT.DONE;
}

/** Reads a file, a pipe, or standard input. Stops past {@link MAX_BYTES}, since input may have no end. */
async function read(path: string): Promise<Buffer> {
  if (path !== STDIN && !statSync(path, { throwIfNoEntry: false })?.isFIFO())
    return readBytes(path, 'a knockd.conf').bytes;
  const chunks: Buffer[] = [];
  let size = 0;
  for await (const chunk of path === STDIN ? process.stdin : createReadStream(path)) {
    chunks.push(chunk);
    size += chunk.length;
    if (size > MAX_BYTES) break;
  }
  return Buffer.concat(chunks);
}

function noteText(file: string, { line, door, message }: Note): string {
  return `${file}:${line}: ${door === null ? '' : `[${door}] `}${message}`;
}

function summary({ services }: Conversion, all: number): string[] {
  const carried = services.flatMap(({ doors }) => doors).length;
  if (carried === 0)
    return [
      'knockd-nft import: no door could be carried over: "knockd-nft init" writes a configuration from scratch',
    ];
  return [
    `knockd-nft import: ${carried} of ${count(all, 'door')} carried over, as ${services.map(({ name }) => name).join(', ')}.`,
    'Read it, save it, and try it: sudo knockd-nft try FILE --for 10m. From then on',
    'your firewall must let every client through to the guarded ports: knockd-nft closes',
    'them before it, and opens nothing in it. At the end: sudo systemctl disable --now knockd',
  ];
}
