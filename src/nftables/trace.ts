import { IPPROTO } from '../inet/protocol.ts';
import { type AttributeReader, DecodeError, required } from '../netlink/attributes.ts';
import { messagesOf } from '../netlink/datagram.ts';
import { attributesOf, familyOf } from '../netlink/nfnetlink.ts';
import { NFT_MSG } from './message.ts';
import { NFTA_VERDICT, VERDICT_CODES, type Verdict } from './verdict.ts';

/** The multicast group for traces, include/uapi/linux/netfilter/nfnetlink.h. */
export const NFNLGRP_NFTRACE = 9;

/** A step of a packet with `meta nftrace` set, as nf_tables reports it: each rule that matched, and the end of each chain. */
export interface Trace {
  /** The same in all reports of one packet. A later packet may get it again. */
  readonly id: number;
  /** NFPROTO_* of the table. */
  readonly family: number;
  readonly table: string;
  readonly chain: string;
  /** A rule, the end of a chain that was jumped to (`return`), or the end of a base chain (`policy`). */
  readonly by: { readonly rule: bigint } | 'return' | 'policy';
  readonly verdict: Verdict['code'] | 'queue' | 'stolen' | 'repeat';
  /** The chain of a jump or goto. */
  readonly target: string | undefined;
  /** Only in the first report from each base chain. */
  readonly packet: TracedPacket | undefined;
}

export interface TracedPacket {
  /** 4 or 16 bytes. */
  readonly source: Buffer;
  readonly destination: Buffer;
  /** IPPROTO_*. */
  readonly protocol: number;
  /** undefined for protocols without ports. */
  readonly ports: { readonly source: number; readonly destination: number } | undefined;
  /** The indexes of the interfaces that it came in by and goes out by. */
  readonly input: number | undefined;
  readonly output: number | undefined;
}

// include/uapi/linux/netfilter/nf_tables.h: enum nft_trace_attributes, nft_trace_types
const NFTA_TRACE = {
  TABLE: 1,
  CHAIN: 2,
  RULE_HANDLE: 3,
  TYPE: 4,
  VERDICT: 5,
  ID: 6,
  NETWORK_HEADER: 8,
  TRANSPORT_HEADER: 9,
  IIF: 10,
  OIF: 12,
  POLICY: 16,
} as const;
const NFT_TRACETYPE = { POLICY: 1 } as const;
const VERDICTS: ReadonlyMap<number, Trace['verdict']> = new Map([
  ...Object.entries(VERDICT_CODES).map(([name, code]) => [code, name as Verdict['code']] as const),
  // include/uapi/linux/netfilter.h; the bits above these hold the number of a queue, or an errno
  ...[[2, 'stolen'] as const, [3, 'queue'] as const, [4, 'repeat'] as const],
]);
const NF_VERDICT_MASK = 0xff;

/** The traces in a datagram. It skips other messages, and those that cannot be decoded. */
export function decodeTraces(datagram: Buffer): Trace[] {
  const traces: Trace[] = [];
  for (const { type, payload } of messagesOf(datagram)) {
    if (type !== NFT_MSG.TRACE) continue;
    try {
      traces.push(decodeTrace(payload));
    } catch (error) {
      if (!(error instanceof DecodeError || error instanceof RangeError)) throw error;
    }
  }
  return traces;
}

/** The trace in the payload of a message. Throws {@link DecodeError}. */
export function decodeTrace(payload: Buffer): Trace {
  let id: number | undefined;
  let table: string | undefined;
  let chain: string | undefined;
  let type: number | undefined;
  let handle: bigint | undefined;
  let policy: number | undefined;
  let verdict: ReturnType<typeof decodeVerdict> | undefined;
  let network: Buffer | undefined;
  let transport: Buffer | undefined;
  let input: number | undefined;
  let output: number | undefined;
  const reader = attributesOf(payload);
  while (reader.next()) {
    if (reader.type === NFTA_TRACE.ID) id = reader.be32();
    else if (reader.type === NFTA_TRACE.TABLE) table = reader.string();
    else if (reader.type === NFTA_TRACE.CHAIN) chain = reader.string();
    else if (reader.type === NFTA_TRACE.TYPE) type = reader.be32();
    else if (reader.type === NFTA_TRACE.RULE_HANDLE) handle = reader.be64();
    else if (reader.type === NFTA_TRACE.POLICY) policy = reader.be32();
    else if (reader.type === NFTA_TRACE.VERDICT) verdict = decodeVerdict(reader.nested());
    else if (reader.type === NFTA_TRACE.NETWORK_HEADER) network = reader.bytes();
    else if (reader.type === NFTA_TRACE.TRANSPORT_HEADER) transport = reader.bytes();
    else if (reader.type === NFTA_TRACE.IIF) input = reader.be32();
    else if (reader.type === NFTA_TRACE.OIF) output = reader.be32();
  }
  const ended = type === NFT_TRACETYPE.POLICY ? decided(required(policy, 'policy of trace')) : verdict;
  return {
    id: required(id, 'identifier of trace'),
    family: familyOf(payload),
    table: required(table, 'table of trace'),
    chain: required(chain, 'chain of trace'),
    // after the last rule of a chain, kernels report a rule without a handle
    by: type === NFT_TRACETYPE.POLICY ? 'policy' : handle === undefined ? 'return' : { rule: handle },
    ...required(ended, 'verdict of trace'),
    packet: network && decodePacket(network, transport, input, output),
  };
}

function decodeVerdict(reader: AttributeReader): Pick<Trace, 'verdict' | 'target'> {
  let code: number | undefined;
  let target: string | undefined;
  while (reader.next()) {
    if (reader.type === NFTA_VERDICT.CODE) code = reader.be32() | 0;
    else if (reader.type === NFTA_VERDICT.CHAIN) target = reader.string();
  }
  return { ...decided(required(code, 'verdict code')), target };
}

function decided(code: number): Pick<Trace, 'verdict' | 'target'> {
  const verdict = VERDICTS.get(code < 0 ? code : code & NF_VERDICT_MASK);
  return { verdict: required(verdict, `known verdict (${code})`), target: undefined };
}

const PROTOCOLS_WITH_PORTS: ReadonlySet<number> = new Set([
  IPPROTO.tcp,
  IPPROTO.udp,
  ...[33, 132, 136], // DCCP, SCTP, UDP-Lite
]);

/** The packet; undefined if it is neither IPv4 nor IPv6. It does not look through headers between IPv6 and the transport. */
function decodePacket(
  network: Buffer,
  transport: Buffer | undefined,
  input: number | undefined,
  output: number | undefined,
): TracedPacket | undefined {
  const version = (network[0] ?? 0) >> 4;
  if (!((version === 4 && network.length >= 20) || (version === 6 && network.length >= 40))) return undefined;
  const [protocolAt, sourceAt, size] = version === 4 ? [9, 12, 4] : [6, 8, 16];
  const protocol = network.readUInt8(protocolAt);
  const ports =
    PROTOCOLS_WITH_PORTS.has(protocol) && transport && transport.length >= 4
      ? { source: transport.readUInt16BE(0), destination: transport.readUInt16BE(2) }
      : undefined;
  return {
    source: Buffer.from(network.subarray(sourceAt, sourceAt + size)),
    destination: Buffer.from(network.subarray(sourceAt + size, sourceAt + 2 * size)),
    protocol,
    ports,
    input,
    output,
  };
}
