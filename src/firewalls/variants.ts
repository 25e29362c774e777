import { DecodeError } from '../netlink/attributes.ts';
import type { Unknown } from '../nftables/expression.ts';
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
import { Fields } from './fields.ts';
import type { Place } from './follow.ts';
import { loadCt, loadFib, loadMeta, part } from './loads.ts';
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

/** enum nft_limit_attributes, nft_connlimit_attributes, nft_quota_attributes: bit 0 of FLAGS inverts the match. */
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
const LONGEST = 16;

const VARIANTS: Readonly<Record<string, Follow>> = {
  counter: goesOn,
  dup: goesOn,
  flow_offload: goesOn,
  last: goesOn,
  log: goesOn,
  masq: goesOn,
  objref: goesOn,
  notrack: () => ({ ...GOES_ON, untracked: true }),
  reject: () => decides({ does: 'reject' }),
  fwd: undecided,
  queue: undecided,
  synproxy: undecided,
  tproxy: undecided,
  limit: withinBounds(5),
  connlimit: withinBounds(2),
  quota: withinBounds(2),
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
    when(followMatch(fields.text(1), fields.number(2), fields.bytes(3), packet, written)),
  target: (fields, { packet }) => followTarget(fields.text(1), fields.number(2), fields.bytes(3), packet),
};

/** enum nft_nat_attributes: TYPE 1, REG_ADDR_MIN 3, REG_PROTO_MIN 5; enum nft_nat_types */
const NFT_NAT_DNAT = 1;

function translate(fields: Fields, { packet, registers }: Place): Step {
  if (fields.number(1) !== NFT_NAT_DNAT) return GOES_ON;
  const address = fields.has(3)
    ? registers.read(fields.register(3), packet.family === 'ipv4' ? 4 : 16)
    : undefined;
  const port = fields.has(5) ? registers.read(fields.register(5), 2) : undefined;
  return decides({ does: 'translate', to: { address, port, local: address === undefined && packet.local } });
}

/** enum nft_redir_attributes: REG_PROTO_MIN 1 */
function redirect(fields: Fields, { registers }: Place): Step {
  const port = fields.has(1) ? registers.read(fields.register(1), 2) : undefined;
  return decides({ does: 'translate', to: { address: undefined, port, local: true } });
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

/** The positions of the destination address and the port in a packet's headers. */
const DESTINATION = { ipv4: { at: 16, size: 4 }, ipv6: { at: 24, size: 16 } } as const;
const NETWORK = 1;
const TRANSPORT = 2;

/** enum nft_payload_attributes: DREG 1, BASE 2, OFFSET 3, LEN 4, SREG 5. With SREG it writes, and may redirect the packet. */
function writesHeader(fields: Fields, { packet, registers }: Place): Step {
  if (!fields.has(5)) {
    registers.load(fields.register(1), vague(LONGEST));
    return GOES_ON;
  }
  const [base, offset, length] = [fields.number(2), fields.number(3), fields.number(4)];
  const written = registers.read(fields.register(5), length);
  const covers = (start: number, size: number) =>
    offset <= start && start + size <= offset + length ? part(written, start - offset, size) : undefined;
  const port = base === TRANSPORT ? covers(2, 2) : undefined;
  const { at, size } = DESTINATION[packet.family];
  const address = base === NETWORK ? covers(at, size) : undefined;
  if (!port && !address) return GOES_ON;
  return decides({ does: 'translate', to: { address, port, local: address === undefined && packet.local } });
}

/** enum nft_meta_attributes: DREG 1, KEY 2 */
function loadsMeta(fields: Fields, { packet, registers, written }: Place): Step {
  if (!fields.has(1)) return GOES_ON;
  return loads(fields, loadMeta(fields.number(2), packet, written), registers);
}

/** enum nft_ct_attributes: DREG 1, KEY 2, DIRECTION 3 */
function loadsCt(fields: Fields, { packet, registers, written }: Place): Step {
  if (!fields.has(1)) return GOES_ON;
  const isReply = fields.has(3) && fields.bytes(3)[0] === 1;
  return loads(fields, isReply ? vague(LONGEST) : loadCt(fields.number(2), packet, written), registers);
}

/** enum nft_fib_attributes: DREG 1, RESULT 2, FLAGS 3 */
function loadsFib(fields: Fields, { packet, registers }: Place): Step {
  return loads(fields, loadFib(fields.number(2), fields.number(3), packet), registers);
}

function loads(fields: Fields, bits: Bits | undefined, registers: Place['registers']): Step {
  if (bits === undefined) return when(UNLIKELY);
  registers.load(fields.register(1), bits);
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

/** enum nft_bitwise_attributes: SREG 1, DREG 2, LEN 3, MASK 4, XOR 5, OP 6 (0: mask and xor) */
function masks(fields: Fields, { registers }: Place): Step {
  const length = fields.number(3);
  const bits = registers.read(fields.register(1), length);
  const plain = fields.number(6) === 0;
  registers.load(fields.register(2), plain ? masked(bits, fields.value(4), fields.value(5)) : vague(length));
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

/**
 * enum nft_dynset_attributes: EXPR 7, FLAGS 9 (1: inverted), EXPRESSIONS 10, each with an NFTA_EXPR_NAME 1 and
 * NFTA_EXPR_DATA 2. The element goes into the set, and the rule goes on if its meters allow.
 */
function meters(fields: Fields, place: Place): Step {
  const all = fields.has(10) ? fields.list(10) : fields.has(7) ? [fields.nested(7)] : [];
  const match = all
    .map(meter => VARIANTS[meter.text(1)]?.(meter.nested(2), place).match ?? LIKELY)
    .reduce(both, YES);
  return when(fields.number(9) & 1 ? not(match) : match);
}
