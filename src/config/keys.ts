/** Every key of the file, once. Reading, defaults, environment and the JSON schema all come from this table. */

import { NF_IP_PRI } from '../inet/netfilter.ts';
import { DEFAULT_REALM } from '../token/derive.ts';
import { DEFAULT_PORT } from '../token/packet.ts';
import { duration } from './duration.ts';
import { interfaceName, realm, tableName } from './names.ts';
import { network } from './networks.ts';
import { knocks, portOf, portRanges } from './ports.ts';
import { secret } from './secrets.ts';
import {
  anyString,
  choice,
  dictionary,
  flag,
  integer,
  type Key,
  list,
  object,
  type Shape,
  type Values,
} from './shape.ts';

/** More than a host with gigabytes to spare could hold: 2^24 elements take about 2 GB of kernel memory. */
const MOST_ELEMENTS = 2 ** 24;
/** Chains at conntrack's priority or before see packets before connection tracking does. */
export const LOWEST_PRIORITY = NF_IP_PRI.conntrack + 1;

const CLOSED = choice('drop', 'reject', 'prohibited');

const SERVICE = {
  ports: key(portRanges, {
    required: true,
    doc: 'Guarded ports: numbers (TCP), "53/udp", ranges "6000-6010/tcp". Without ports the service opens nothing, and is only an event.',
  }),
  sequence: key(knocks, {
    doc: '1 to 32 knocks that open the service, in order: [10000, "2345/udp"]. Either this or "sequences".',
  }),
  sequences: key(dictionary(knocks, { what: 'user', least: 1 }), {
    doc: 'A sequence for each user: { "alice": [..], "bob": [..] }. Events and "status" name the user.',
  }),
  tokens: key(dictionary(secret, { what: 'user', least: 1 }), {
    doc: 'One-time tokens: { "alice": SECRET }, a secret for each device, of 64 hexadecimal digits or { "file": PATH }.',
  }),
  knockTimeout: key(duration, { default: '5s', doc: 'Longest pause between two knocks.' }),
  openFor: key(duration, {
    default: '10s',
    doc: 'How long a client may open new connections; established ones stay.',
  }),
  singleUse: key(flag, { default: false, doc: 'The first new connection uses the opening up.' }),
  closed: key(CLOSED, { doc: 'The same as "closed" at the top of the file, for this service only.' }),
};

const LOG = {
  level: key(choice('trace', 'debug', 'info', 'warn', 'error', 'fatal', 'silent'), {
    default: 'info',
    env: 'KNOCKD_NFT_LOG_LEVEL',
    doc: 'The least important messages to write.',
  }),
  format: key(choice('auto', 'json', 'text'), {
    default: 'auto',
    env: 'KNOCKD_NFT_LOG_FORMAT',
    doc: '"json", "text", or "auto": by whether stderr is the journal or a terminal.',
  }),
  refused: key(flag, { default: false, doc: 'Also report refused connections.' }),
  group: key(integer(0, 65535), { default: 22, doc: 'NFLOG group that the kernel reports to.' }),
};

const PREFIX = {
  ipv4: key(integer(1, 32), { default: 32, doc: 'Bits of an IPv4 address.' }),
  ipv6: key(integer(1, 128), { default: 128, doc: 'Bits of an IPv6 address; 64 lets in the whole /64.' }),
};

const LIMITS = {
  progress: key(integer(1, MOST_ELEMENTS), {
    default: 65535,
    doc: 'The most clients in mid-sequence, for each map.',
  }),
  clients: key(integer(1, MOST_ELEMENTS), {
    default: 65535,
    doc: 'The most clients that are in, for each set.',
  }),
};

const TOKEN = {
  port: key(portOf('udp'), { default: `${DEFAULT_PORT}/udp`, doc: 'The UDP port that tokens are sent to.' }),
  realm: key(realm, {
    default: DEFAULT_REALM,
    doc: 'Part of the derivation: hosts that share secrets need different realms.',
  }),
  hours: key(integer(1, 24), { default: 24, doc: 'How many hours ahead the kernel holds tokens.' }),
  payload: key(list(portOf('tcp'), 'TCP ports'), {
    default: [],
    doc: 'TCP ports where a program listens, such as ["80/tcp"]: a token in the data of a connection to one counts, too.',
  }),
};

export const FILE = {
  $schema: key(anyString, { doc: 'The schema of this file, for editors.' }),
  services: key(
    dictionary(service(), {
      what: 'service',
      least: 0,
      ifEmpty: 'there is no service, so no port is guarded',
    }),
    {
      required: true,
      doc: 'The guarded services by name: { "ssh": { "ports": [22], "sequence": [..] } }.',
    },
  ),
  closed: key(CLOSED, {
    default: 'drop',
    doc: 'How a guarded port answers strangers. "drop": not at all; "reject": that it is closed (TCP reset, ICMP port unreachable); "prohibited": that it is forbidden (ICMP admin-prohibited), as firewalld answers. Choose the answer of the ports next to it: "doctor" says which.',
  }),
  policy: key(choice('accept', 'drop'), {
    default: 'accept',
    doc: '"drop": drops everything that this file does not name.',
  }),
  public: key(portRanges, {
    default: [],
    doc: 'Ports open to every client: accepted under "policy": "drop", and never a wrong knock.',
  }),
  allow: key(list(network, 'addresses and networks'), {
    default: [],
    doc: 'Addresses and networks that need no knock: "192.0.2.7", "2001:db8::/32".',
  }),
  interfaces: key(list(interfaceName, 'interface names'), {
    default: [],
    doc: 'Ports are guarded only for packets that come in by these interfaces; "wg*" stands for all names that begin so; empty for all. Name a bridge, bond or VRF itself, not its ports.',
  }),
  hook: key(choice('input', 'prerouting'), {
    default: 'input',
    doc: '"prerouting" also guards ports that DNAT forwards, such as Docker\'s, by their original number.',
  }),
  priority: key(integer(LOWEST_PRIORITY, 2 ** 31 - 1), {
    default: -10,
    doc: 'Priority of the input chain; that of filter is 0.',
  }),
  prefix: key(object(PREFIX), { doc: 'How much of an address is one client.' }),
  strict: key(flag, {
    default: true,
    doc: 'Packets to unused ports put a client in mid-sequence back to the start.',
  }),
  limits: key(object(LIMITS), { doc: 'Size of each map and set that packets write.' }),
  table: key(tableName, { default: 'knockd', doc: 'Name of the inet table.' }),
  token: key(object(TOKEN), {
    doc: 'The port for one-time tokens, and for how many hours the kernel holds them.',
  }),
  metrics: key(flag, {
    default: false,
    doc: "The supervisor keeps /run/knockd-nft/metrics.prom, for node_exporter's textfile collector.",
  }),
  log: key(object(LOG), { doc: 'What the supervisor writes to the journal or to stderr.' }),
};

/** A service as it is written. */
export type ServiceValues = Values<typeof SERVICE>;
/** The keys of `token` as they are written. */
export type TokenValues = Values<typeof TOKEN>;

/** The defaults of the token's keys. */
export const TOKEN_DEFAULTS = {
  port: TOKEN.port.default,
  realm: TOKEN.realm.default,
  hours: TOKEN.hours.default,
};

/** The keys of a service that have a default of their own. */
export const SERVICE_DEFAULTS = {
  knockTimeout: SERVICE.knockTimeout.default,
  openFor: SERVICE.openFor.default,
  singleUse: SERVICE.singleUse.default,
};

function key<S extends Shape<unknown>, const O extends Omit<Key, 'shape'>>(
  shape: S,
  options: O,
): O & { shape: S } {
  return { ...options, shape };
}

/** A service needs tokens, or sequences in one of two forms, or both. */
function service() {
  const shape = object(SERVICE);
  return {
    get schema() {
      const ways = ['tokens', 'sequence', 'sequences'].map(name => ({ required: [name] }));
      return { ...shape.schema, anyOf: ways, not: { required: ['sequence', 'sequences'] } };
    },
    read(node, report, where) {
      const value = shape.read(node, report, where);
      if (node.kind !== 'object') return undefined;
      const [first, second] = node.members.filter(({ name }) => name === 'sequence' || name === 'sequences');
      if (first === undefined && !node.members.some(({ name }) => name === 'tokens')) {
        report.wrong(
          node.at,
          where,
          'there is no way in',
          '"tokens" with a secret for each user, "sequence", or "sequences" with one for each user',
        );
      } else if (first !== undefined && second !== undefined && second.name !== first.name) {
        const what = `"${second.name}" and "${first.name}" (line ${first.at.line}) exclude each other`;
        report.wrong(second.at, where, what, 'one of the two');
      }
      return value;
    },
  } satisfies Shape<unknown>;
}
