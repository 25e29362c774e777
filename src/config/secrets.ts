import { dirname, resolve } from 'node:path';
import { formatMode, othersMay, ownerProblem, readBytes } from './file.ts';
import { ConfigError, UnreadableError } from './problems.ts';
import { nameKind, type Report } from './report.ts';
import { SECRET } from './secret.ts';
import { anyString, object, type Placed, type Shape } from './shape.ts';

const EXPECTED = '64 hexadecimal digits, or { "file": "/path/of/a/file/with/them" }';

/** A secret as it is written: its bytes, or the name of the file that holds it. */
type WrittenSecret = { readonly bytes: Uint8Array } | { readonly file: string };

const inFile = object({
  file: { shape: anyString, required: true, doc: 'A file that holds the 64 digits and nothing else.' },
});

/** Its messages never show the written text. */
export const secret: Shape<Placed<WrittenSecret>> = {
  get schema() {
    return { anyOf: [{ type: 'string', pattern: SECRET.source }, inFile.schema] };
  },
  read(node, report, where) {
    if (node.kind === 'object') {
      const file = inFile.read(node, report, where)?.file;
      const at = node.members[0]?.value.at ?? node.at;
      return file === undefined ? undefined : { at, value: { file } };
    }
    if (node.kind !== 'string') return report.wrong(node.at, where, `this is ${nameKind(node)}`, EXPECTED);
    if (!SECRET.test(node.value)) return report.wrong(node.at, where, 'this is no secret', EXPECTED);
    return { at: node.at, value: { bytes: Buffer.from(node.value, 'hex') } };
  },
};

/** The path of a secret's file. A relative one starts at the folder of the configuration. */
export function secretPath(configuration: string, file: string): string {
  return resolve(dirname(configuration), file);
}

/** The bytes of a secret; undefined after an error, which is reported at the place where the secret is written. */
export function resolveSecret(
  { at, value }: Placed<WrittenSecret>,
  where: string,
  configuration: string,
  report: Report,
): Uint8Array | undefined {
  if ('bytes' in value) return value.bytes;
  const path = secretPath(configuration, value.file);
  try {
    const { stats, bytes } = readBytes(path, 'a file with 64 hexadecimal digits');
    const owner = ownerProblem(stats);
    const mode = formatMode(stats);
    if (owner !== undefined) return report.wrong(at, where, `${path} ${owner.wrong}`, owner.expected);
    if (othersMay(stats, 0o022))
      return report.wrong(
        at,
        where,
        `users other than its owner may write ${path} (mode ${mode})`,
        'mode 0600',
      );
    if (othersMay(stats, 0o004))
      report.warning(at, `${where}: every user may read ${path} (mode ${mode}); chmod o-r prevents that`);
    const text = bytes.toString('latin1').trim();
    if (SECRET.test(text)) return Buffer.from(text, 'hex');
    return report.wrong(at, where, `${path} holds no secret`, '64 hexadecimal digits and nothing else');
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error;
    const [problem] = error.problems;
    const message = `${where}: ${path}: ${problem?.message}`;
    const isOfDisk = error instanceof UnreadableError && !error.missing && !error.permission;
    return void (isOfDisk ? report.passingError(at, message) : report.error(at, message));
  }
}
