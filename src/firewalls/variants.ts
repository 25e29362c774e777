import { ADDRESS_SIZE } from '../inet/family.ts';
import { DESTINATION_OFFSET } from '../inet/header.ts';
import { CT_DIRECTION } from '../inet/netfilter.ts';
import { DecodeError } from '../netlink/attributes.ts';
import type { Unknown } from '../nftables/expression.ts';
import { NFT_BITWISE_MASK_XOR, NFTA_BITWISE } from '../nftables/expressions/bitwise.ts';
import { NFTA_EXPR } from '../nftables/expressions/codec.ts';
import { NFTA_CT } from '../nftables/expressions/ct.ts';
import { NFTA_DYNSET } from '../nftables/expressions/dynset.ts';
import { NFTA_FIB } from '../nftables/expressions/fib.ts';
import { NFTA_LIMIT } from '../nftables/expressions/limit.ts';
import { NFTA_META } from '../nftables/expressions/meta.ts';
import { NFTA_PAYLOAD, PAYLOAD_BASES } from '../nftables/expressions/payload.ts';
import {
  type Bits,
  both,
  compares,
  guess,
  LIKELY,
  masked,
  not,
  UNKNOWN,
  UNLIKELY,
  vague,
  YES,
} from './bits.ts';
import { decides, GOES_ON, type Step, when } from './decision.ts';
import { Fields, NFTA_XT } from './fields.ts';
import { LONGEST, loadCt, loadFib, loadMeta, part } from './loads.ts';
import type { Place } from './place.ts';
import { followMatch, followTarget } from './xtables.ts';

/**
 * Expressions, and variants of them, that only other programs write, by the kernel's names. We cannot tell the effect of one
 * that is missing here, or that does not look as expected.
 */
export function followVariant({ name, raw }: Unknown, place: Place): Step {
  try {
    const follow = Object.hasOwn(VARIANTS, name) ? VARIANTS[name] : undefined;
    if (follow) return follow(new Fields(raw), place);
  } catch (error) {
    if (!(error instanceof DecodeError || error instanceof RangeError)) throw error;
  }
  place.registers.forget();
  return when(UNKNOWN);
}

type Follow = (fields: Fields, place: Place) => Step;

const goesOn: Follow = () => GOES_ON;
const undecided: Follow = () => decides({ does: 'unknown' });

const PROXIED = decides({ does: 'proxy' });
/** enum nft_objref_attributes; NFT_OBJECT_* */
const NFTA_OBJREF_IMM_TYPE = 1;
const NFT_OBJECT_SYNPROXY = 10;

/** enum nft_limit_flags, nft_connlimit_flags, nft_quota_flags */
const INVERTED = 1;
const withinBounds =
  (flags: number): Follow =>
  fields =>
    when(fields.number(flags) & INVERTED ? UNLIKELY : LIKELY);

/** Loads a part of the packet that we cannot foretell into the register that attribute `type` names. */
const loadsVague =
  (type: number, source?: number): Follow =>
  (fields, { registers }) => {
    if (source !== undefined && fields.has(source)) return GOES_ON; // it writes into the packet
    registers.load(fields.register(type), vague(LONGEST));
    return GOES_ON;
  };

const VARIANTS: Readonly<Record<string, Follow>> = {
  counter: goesOn,
  dup: goesOn,
  flow_offload: goesOn,
  last: goesOn,
  log: goesOn,
  masq: goesOn,
  objref: fields => (fields.number(NFTA_OBJREF_IMM_TYPE) === NFT_OBJECT_SYNPROXY ? PROXIED : GOES_ON),
  notrack: () => ({ ...GOES_ON, untracked: true }),
  reject: () => decides({ does: 'reject' }),
  fwd: undecided,
  queue: undecided,
  synproxy: () => PROXIED,
  tproxy: leads,
  limit: withinBounds(NFTA_LIMIT.FLAGS),
  connlimit: withinBounds(2), // NFTA_CONNLIMIT_FLAGS
  quota: withinBounds(2), // NFTA_QUOTA_FLAGS
  hash: loadsVague(2),
  inner: loadsVague(2),
  numgen: loadsVague(1),
  osf: loadsVague(1),
  rt: loadsVague(1),
  socket: loadsVague(2),
  tunnel: loadsVague(2),
  xfrm: loadsVague(1),
  exthdr: loadsOption,
  payload: writesHeader,
  nat: translate,
  redir: redirect,
  meta: loadsMeta,
  ct: loadsCt,
  fib: loadsFib,
  range: comparesRange,
  bitwise: masks,
  byteorder: swaps,
  dynset: meters,
  // iptables' own matches and targets, which iptables-nft keeps as they are
  match: (fields, { packet, written }) =>
    when(
      followMatch(
        fields.text(NFTA_XT.NAME),
        fields.number(NFTA_XT.REV),
        fields.bytes(NFTA_XT.INFO),
        packet,
        written,
      ),
    ),
  target: (fields, { packet }) =>
    followTarget(fields.text(NFTA_XT.NAME), fields.number(NFTA_XT.REV), fields.bytes(NFTA_XT.INFO), packet),
};

/** enum nft_nat_attributes: TYPE 1, REG_ADDR_MIN 3, REG_PROTO_MIN 5; enum nft_nat_types */
const NFT_NAT_DNAT = 1;

function translate(fields: Fields, { packet, registers }: Place): Step {
  if (fields.number(1) !== NFT_NAT_DNAT) return GOES_ON;
  const address = fields.has(3) ? registers.read(fields.register(3), ADDRESS_SIZE[packet.family]) : undefined;
  const port = fields.has(5) ? registers.read(fields.register(5), 2) : undefined;
  return decides({ does: 'translate', to: { address, port, local: address === undefined && packet.local } });
}

/** enum nft_redir_attributes: REG_PROTO_MIN 1 */
function redirect(fields: Fields, { registers }: Place): Step {
  const port = fields.has(1) ? registers.read(fields.register(1), 2) : undefined;
  return decides({ does: 'translate', to: { address: undefined, port, local: true } });
}

/** enum nft_tproxy_attributes: REG_PORT 3. Without such a socket the rule ends. */
function leads(fields: Fields, { packet, registers }: Place): Step {
  const port = fields.has(3) ? registers.read(fields.register(3), 2) : part(packet.transport, 2, 2);
  return { match: LIKELY, leads: [port] };
}

/** enum nft_exthdr_attributes: DREG 1, FLAGS 5 (1: whether it is there), OP 6 (1: TCP), SREG 7 */
function loadsOption(fields: Fields, { registers }: Place): Step {
  if (fields.has(7)) return GOES_ON; // it writes into the packet
  if (fields.number(6) === 1) registers.load(fields.register(1), vague(LONGEST));
  // a connecting client sends neither options of IPv4 nor headers between IPv6 and TCP
  else if (fields.number(5) & 1) registers.load(fields.register(1), guess(Buffer.from([0])));
  else return when(UNLIKELY);
  return GOES_ON;
}

/** With SREG the expression writes, and may redirect the packet. */
function writesHeader(fields: Fields, { packet, registers }: Place): Step {
  if (!fields.has(NFTA_PAYLOAD.SREG)) {
    registers.load(fields.register(NFTA_PAYLOAD.DREG), vague(LONGEST));
    return GOES_ON;
  }
  const base = fields.number(NFTA_PAYLOAD.BASE);
  const [offset, length] = [fields.number(NFTA_PAYLOAD.OFFSET), fields.number(NFTA_PAYLOAD.LEN)];
  const written = registers.read(fields.register(NFTA_PAYLOAD.SREG), length);
  const covers = (start: number, size: number) =>
    offset <= start && start + size <= offset + length ? part(written, start - offset, size) : undefined;
  const port =
    base === PAYLOAD_BASES.transport
      ? covers(2, 2)
      : base === PAYLOAD_BASES.network
        ? covers(packet.network.likely.length + 2, 2)
        : undefined;
  const address =
    base === PAYLOAD_BASES.network
      ? covers(DESTINATION_OFFSET[packet.family], ADDRESS_SIZE[packet.family])
      : undefined;
  if (!port && !address) return GOES_ON;
  return decides({ does: 'translate', to: { address, port, local: address === undefined && packet.local } });
}

function loadsMeta(fields: Fields, { packet, registers, written }: Place): Step {
  if (!fields.has(NFTA_META.DREG)) return GOES_ON;
  return loads(fields, NFTA_META.DREG, loadMeta(fields.number(NFTA_META.KEY), packet, written), registers);
}

function loadsCt(fields: Fields, { packet, registers, written }: Place): Step {
  if (!fields.has(NFTA_CT.DREG)) return GOES_ON;
  const isReply = fields.bytes(NFTA_CT.DIRECTION)[0] === CT_DIRECTION.reply;
  const bits = isReply ? vague(LONGEST) : loadCt(fields.number(NFTA_CT.KEY), packet, written);
  return loads(fields, NFTA_CT.DREG, bits, registers);
}

function loadsFib(fields: Fields, { packet, registers }: Place): Step {
  const bits = loadFib(fields.number(NFTA_FIB.RESULT), fields.number(NFTA_FIB.FLAGS), packet);
  return loads(fields, NFTA_FIB.DREG, bits, registers);
}

function loads(
  fields: Fields,
  register: number,
  bits: Bits | undefined,
  registers: Place['registers'],
): Step {
  if (bits === undefined) return when(UNLIKELY);
  registers.load(fields.register(register), bits);
  return GOES_ON;
}

/** enum nft_range_attributes: SREG 1, OP 2 (0: within, 1: not within), FROM_DATA 3, TO_DATA 4 */
function comparesRange(fields: Fields, { registers }: Place): Step {
  const from = fields.value(3);
  const bits = registers.read(fields.register(1), from.length);
  const within = both(
    compares(bits, from, sign => sign >= 0),
    compares(bits, fields.value(4), sign => sign <= 0),
  );
  return when(fields.number(2) === 0 ? within : not(within));
}

function masks(fields: Fields, { registers }: Place): Step {
  const length = fields.number(NFTA_BITWISE.LEN);
  const bits = registers.read(fields.register(NFTA_BITWISE.SREG), length);
  const plain = fields.number(NFTA_BITWISE.OP) === NFT_BITWISE_MASK_XOR;
  registers.load(
    fields.register(NFTA_BITWISE.DREG),
    plain ? masked(bits, fields.value(NFTA_BITWISE.MASK), fields.value(NFTA_BITWISE.XOR)) : vague(length),
  );
  return GOES_ON;
}

/** enum nft_byteorder_attributes: SREG 1, DREG 2, LEN 4, SIZE 5. Hosts are little-endian here. */
function swaps(fields: Fields, { registers }: Place): Step {
  const size = fields.number(5);
  const { likely, sure, ...rest } = registers.read(fields.register(1), fields.number(4));
  if (size < 1) throw new DecodeError('byteorder without a size');
  const swapped = (bytes: Buffer) => {
    const copy = Buffer.from(bytes);
    for (let at = 0; at + size <= copy.length; at += size) copy.subarray(at, at + size).reverse();
    return copy;
  };
  registers.load(fields.register(2), { ...rest, likely: swapped(likely), sure: swapped(sure) });
  return GOES_ON;
}

/** The element goes into the set, and the rule goes on if its meters allow. Bit 0 of the flags inverts that. */
function meters(fields: Fields, place: Place): Step {
  const all = fields.has(NFTA_DYNSET.EXPRESSIONS)
    ? fields.list(NFTA_DYNSET.EXPRESSIONS)
    : fields.has(NFTA_DYNSET.EXPR)
      ? [fields.nested(NFTA_DYNSET.EXPR)]
      : [];
  const match = all
    .map(meter => VARIANTS[meter.text(NFTA_EXPR.NAME)]?.(meter.nested(NFTA_EXPR.DATA), place).match ?? LIKELY)
    .reduce(both, YES);
  return when(fields.number(NFTA_DYNSET.FLAGS) & INVERTED ? not(match) : match);
}
