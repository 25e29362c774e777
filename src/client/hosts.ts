import { existsSync } from 'node:fs';
import { durationWithin, type Span } from '../config/duration.ts';
import { decode, formatMode, readBytes, tellOwner } from '../config/file.ts';
import { bad, good } from '../config/outcome.ts';
import { knocks } from '../config/ports.ts';
import { ConfigError } from '../config/problems.ts';
import { Report } from '../config/report.ts';
import { dictionary, integer, object, type Shape } from '../config/shape.ts';
import type { Port } from '../config/types.ts';

/** A host of the user's file. */
export interface KnownHost {
  readonly name: string;
  /** Name or address to go to. */
  readonly host: string;
  readonly knocks: readonly Port[];
  /** Milliseconds between two knocks. */
  readonly gap?: number;
  /** The port behind the knocks. */
  readonly port?: number;
}

/** Pauses between knocks. */
export const GAP: Span = {
  shortest: 1,
  longest: 60_000,
  expected: 'seconds as a number, or a duration such as "200ms" or "1s", from 1 ms to 60 s',
};

/** Names and addresses, as they are typed; like ssh, none that looks like an option. */
export const HOST = { pattern: /^(?!-)\S{1,253}$/, expected: 'a name or an address, without spaces' };

const hostName: Shape<string> = {
  schema: { type: 'string', pattern: HOST.pattern.source },
  read(node, report, where) {
    const is = node.kind === 'string' && HOST.pattern.test(node.value);
    return report.outcome(node, where, is ? good(node.value) : bad('is no host', HOST.expected));
  },
};

const FILE = dictionary(
  object({
    host: { shape: hostName, doc: 'name or address to go to' },
    knocks: { shape: knocks, doc: 'the knocks, in order: [10000, "2345/udp"]', required: true },
    gap: { shape: durationWithin(GAP), doc: 'pause between two knocks' },
    port: { shape: integer(1, 65535), doc: 'the TCP port behind the knocks' },
  }),
  { what: 'host', least: 0, naming: HOST },
);

/**
 * The hosts of the file, in its order; none where there is no file. Throws {@link ConfigError} with all that is wrong,
 * also when others than its owner could read it: as ssh does with keys. On Windows the mode says nothing, and the user's
 * folders are closed to others.
 */
export function readHosts(path: string): readonly KnownHost[] {
  if (!existsSync(path)) return [];
  const { stats, bytes } = readBytes(path);
  const report = new Report(path);
  if (process.platform !== 'win32' && (stats.mode & 0o077) !== 0)
    report.error(
      null,
      `others than its owner may get at the file, which holds knocks (mode ${formatMode(stats)}); expected 0600: chmod 600 ${path}`,
    );
  tellOwner(stats, report);
  const tree = decode(bytes);
  if ('wrong' in tree) report.error(tree.at, tree.wrong);
  const hosts = 'wrong' in tree ? undefined : FILE.read(tree.root, report, '');
  if (report.problems.length > 0) throw new ConfigError(report.problems);
  return (hosts ?? []).map(({ name, value: { host = name, knocks, gap, port } }) => ({
    name,
    host,
    knocks: (knocks?.value ?? []).flatMap(knock => knock?.value ?? []),
    ...(gap !== undefined && { gap }),
    ...(port !== undefined && { port }),
  }));
}

/**
 * The host that `word` means: by its name; else by where it goes, since ssh turns a name into that before it asks,
 * and then rather one with this `port`. Upper and lower case are the same, as in names of hosts.
 */
export function findHost(
  hosts: readonly KnownHost[],
  word: string,
  port: number | undefined,
): KnownHost | undefined {
  const same = (other: string) => other.toLowerCase() === word.toLowerCase();
  const going = hosts.filter(({ host }) => same(host));
  return hosts.find(({ name }) => same(name)) ?? going.find(known => known.port === port) ?? going[0];
}
