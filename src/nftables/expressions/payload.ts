import { required } from '../../netlink/attributes.ts';
import { DATATYPES } from '../datatype.ts';
import { decodeRegister, encodeRegister, type Register } from '../register.ts';
import type { Codec } from './codec.ts';

/** Loads bytes of the packet: `length` bytes at `offset` of a header. */
export interface Payload {
  readonly kind: 'payload';
  readonly base: keyof typeof PAYLOAD_BASES;
  readonly offset: number;
  readonly length: number;
  readonly dreg: Register;
}

/** enum nft_payload_bases */
export const PAYLOAD_BASES = { link: 0, network: 1, transport: 2, inner: 3 } as const;
const BASE_NAMES = ['link', 'network', 'transport', 'inner'] as const;
/** enum nft_payload_attributes */
export const NFTA_PAYLOAD = { DREG: 1, BASE: 2, OFFSET: 3, LEN: 4, SREG: 5 } as const;

/** Fields by `base+offset:length`, and the protocol that must be known before the name fits (null: any with ports). */
const FIELDS = [
  ['network+12:4', 'ipv4', 'ip saddr', DATATYPES.ipv4_addr],
  ['network+12:2', 'ipv4', 'ip saddr', DATATYPES.ipv4_half],
  ['network+12:1', 'ipv4', 'ip saddr', DATATYPES.ipv4_first],
  ['network+8:16', 'ipv6', 'ip6 saddr', DATATYPES.ipv6_addr],
  ['network+24:16', 'ipv6', 'ip6 daddr', DATATYPES.ipv6_addr],
  ['network+7:1', 'ipv6', 'ip6 hoplimit', DATATYPES.byte],
  ['transport+0:1', 'icmp', 'icmp type', DATATYPES.icmp_type],
  ['transport+0:1', 'ipv6-icmp', 'icmpv6 type', DATATYPES.icmpv6_type],
  ['transport+0:2', 'tcp', 'tcp sport', DATATYPES.inet_service],
  ['transport+2:2', 'tcp', 'tcp dport', DATATYPES.inet_service],
  ['transport+13:1', 'tcp', 'tcp flags', DATATYPES.tcp_flag],
  ['transport+0:4', 'udp', 'udp sport', DATATYPES.udp_ports],
  ['transport+0:2', 'udp', 'udp sport', DATATYPES.inet_service],
  ['transport+2:2', 'udp', 'udp dport', DATATYPES.inet_service],
  ['transport+4:2', 'udp', 'udp length', DATATYPES.inet_service],
  ['transport+0:2', null, 'th sport', DATATYPES.inet_service],
  ['transport+2:2', null, 'th dport', DATATYPES.inet_service],
] as const;

export const payload: Codec<Payload> = {
  encode(writer, { base, offset, length, dreg }) {
    writer.be32(NFTA_PAYLOAD.DREG, encodeRegister(dreg));
    writer.be32(NFTA_PAYLOAD.BASE, PAYLOAD_BASES[base]);
    writer.be32(NFTA_PAYLOAD.OFFSET, offset);
    writer.be32(NFTA_PAYLOAD.LEN, length);
  },
  decode(reader) {
    let dreg: number | undefined;
    let base: number | undefined;
    let offset: number | undefined;
    let length: number | undefined;
    while (reader.next()) {
      if (reader.type === NFTA_PAYLOAD.DREG) dreg = reader.be32();
      else if (reader.type === NFTA_PAYLOAD.BASE) base = reader.be32();
      else if (reader.type === NFTA_PAYLOAD.OFFSET) offset = reader.be32();
      else if (reader.type === NFTA_PAYLOAD.LEN) length = reader.be32();
      else if (reader.type === NFTA_PAYLOAD.SREG) return undefined;
    }
    const name = BASE_NAMES[required(base, 'payload base')];
    if (name === undefined) return undefined;
    return {
      kind: 'payload',
      base: name,
      offset: required(offset, 'payload offset'),
      length: required(length, 'payload length'),
      dreg: decodeRegister(required(dreg, 'payload register')),
    };
  },
  text({ base, offset, length, dreg }, rule) {
    const place = `${base}+${offset}:${length}`;
    const field = FIELDS.find(
      ([at, protocol]) => at === place && (protocol === null || rule.knows(protocol)),
    );
    if (!field) {
      const header = { link: 'll', network: 'nh', transport: 'th', inner: 'ih' }[base];
      rule.load(dreg, { text: `@${header},${offset * 8},${length * 8}`, type: DATATYPES.integer });
      return;
    }
    const [, protocol, text, type] = field;
    if (protocol !== null) rule.imply(protocol);
    rule.load(dreg, { text, type });
  },
};
