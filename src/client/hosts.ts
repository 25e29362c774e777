import { existsSync, type Stats } from 'node:fs';
import { durationWithin } from '../config/duration.ts';
import { decode, formatMode, othersMay, readBytes, tellOwner } from '../config/file.ts';
import { realm } from '../config/names.ts';
import { knocks } from '../config/ports.ts';
import { ConfigError } from '../config/problems.ts';
import { Report } from '../config/report.ts';
import { secret } from '../config/secret.ts';
import { dictionary, integer, list, NAMING, type Naming, object, type Shape } from '../config/shape.ts';
import type { Span } from '../inet/duration.ts';
import { bad, good } from '../inet/outcome.ts';
import { type Port, readPort } from '../inet/port.ts';
import type { Protocol } from '../inet/protocol.ts';
import { DEFAULT_REALM, type TokenKey } from '../token/derive.ts';
import { DEFAULT_PORT } from '../token/packet.ts';

/** A host in the user's file. */
interface KnownHost {
  readonly name: string;
  /** The name or address to connect to. */
  readonly host: string;
  /** Empty if a token opens the host. */
  readonly knocks: readonly Port[];
  readonly token?: TokenEntry;
  /** Milliseconds between two knocks. */
  readonly gap?: number;
  /** The port behind the knocks. */
  readonly port?: number;
}

/** The one-time tokens of a service, and where to send them. */
export interface TokenEntry extends TokenKey {
  /** UDP. */
  readonly port: number;
  /** TCP ports with listeners where tokens count, too: for networks that block UDP. */
  readonly payload: readonly number[];
}

/** Pauses between knocks. */
export const GAP: Span = {
  shortest: 1,
  longest: 60_000,
  expected: 'seconds as a number, or a duration such as "200ms" or "1s", from 1 ms to 60 s',
};

/** Names and addresses, as people type them. Like ssh, we accept none that looks like an option. */
export const HOST = { pattern: /^(?!-)\S{1,253}$/, expected: 'a name or an address, without spaces' };

function named(what: string, { pattern, expected }: Naming): Shape<string> {
  return {
    schema: { type: 'string', pattern: pattern.source },
    read(node, report, where) {
      const is = node.kind === 'string' && pattern.test(node.value);
      return report.outcome(node, where, is ? good(node.value) : bad(`is no ${what}`, expected));
    },
  };
}

const hostName = named('host', HOST);

/** A port of this protocol, as its number. */
function portOf(protocol: Protocol): Shape<number> {
  const expected = protocol === 'udp' ? '"N/udp"' : 'a number from 1 to 65535, or "N/tcp"';
  return {
    schema: { anyOf: [{ type: 'integer' }, { type: 'string', pattern: `^[0-9]+/${protocol}$` }] },
    read(node, report, where) {
      const port = node.kind === 'string' || node.kind === 'number' ? readPort(node.value) : undefined;
      const is = port?.ok && port.value.protocol === protocol;
      return report.outcome(node, where, is ? good(port.value.port) : bad('is wrong', expected));
    },
  };
}

const TOKEN = object({
  secret: { shape: secret, doc: 'the secret of this device', required: true },
  service: { shape: named('service', NAMING), doc: 'the name of the service on the server', required: true },
  realm: { shape: realm, doc: 'the realm of the server' },
  port: { shape: portOf('udp'), doc: 'the UDP port where the server expects tokens' },
  payload: {
    shape: list(portOf('tcp'), 'TCP ports'),
    doc: 'TCP ports where the server expects tokens, too',
  },
});

const token: Shape<TokenEntry> = {
  get schema() {
    return TOKEN.schema;
  },
  read(node, report, where) {
    const {
      secret,
      service,
      realm = DEFAULT_REALM,
      port = DEFAULT_PORT,
      payload = [],
    } = TOKEN.read(node, report, where) ?? {};
    if (secret === undefined || service === undefined) return undefined; // an error was reported
    return { secret, service, realm, port, payload };
  },
};

const ENTRY = object({
  host: { shape: hostName, doc: 'the name or address of the server' },
  knocks: { shape: knocks, doc: 'the knocks, in order: [10000, "2345/udp"]' },
  token: { shape: token, doc: 'one-time tokens, instead of knocks' },
  gap: { shape: durationWithin(GAP), doc: 'the pause between two knocks' },
  port: { shape: integer(1, 65535), doc: 'the TCP port that the knocks or the token open' },
});

/** An entry with one of the two keys. */
const entry: typeof ENTRY = {
  ...ENTRY,
  read(node, report, where) {
    const ways =
      node.kind === 'object' ? node.members.filter(({ name }) => /^(knocks|token)$/.test(name)) : [];
    const [one, other] = ways.map(({ name }) => name);
    if (one === undefined && node.kind === 'object')
      report.wrong(node.at, where, 'the key "knocks" or "token" is missing', 'one of them');
    if (other !== undefined && other !== one && ways[1])
      report.wrong(ways[1].at, where, `"${other}" and "${one}" exclude each other`, 'one of them');
    return ENTRY.read(node, report, where);
  },
};

const FILE = dictionary(entry, { what: 'host', least: 0, naming: HOST });

/**
 * The hosts of the file, in its order; none if there is no file. Throws {@link ConfigError} with all that is wrong. As ssh does
 * with keys, that includes a file that other users can read. On Windows the mode says nothing, but there other users cannot
 * enter the user's folders.
 */
export function readHosts(path: string): readonly KnownHost[] {
  if (!existsSync(path)) return [];
  const { stats, bytes } = readBytes(path);
  const report = new Report(path);
  if (openToOthers(stats))
    report.error(
      null,
      `users other than its owner may access the file, which holds secrets (mode ${formatMode(stats)}); expected 0600: chmod 600 ${path}`,
    );
  tellOwner(stats, report);
  const tree = decode(bytes);
  if ('wrong' in tree) report.error(tree.at, tree.wrong);
  const hosts = 'wrong' in tree ? undefined : FILE.read(tree.root, report, '');
  if (report.problems.length > 0) throw new ConfigError(report.problems);
  return (hosts ?? []).map(({ name, value: { host = name, knocks, token, gap, port } }) => ({
    name,
    host,
    knocks: (knocks?.value ?? []).flatMap(knock => knock?.value ?? []),
    ...(token !== undefined && { token }),
    ...(gap !== undefined && { gap }),
    ...(port !== undefined && { port }),
  }));
}

/** Whether other users may read or write a file with a secret. */
export function openToOthers(stats: Stats): boolean {
  return othersMay(stats, 0o077);
}

/**
 * The host that `word` means: by its name, or else by the address it goes to, because ssh turns a name into that before it
 * asks. In that case one with this `port` comes first. Upper and lower case are the same, as in names of hosts.
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
