import { AF, type Family, familyOf } from '../inet/family.ts';
import { IPS } from '../inet/netfilter.ts';
import { IPPROTO, type Protocol } from '../inet/protocol.ts';
import { type AttributeReader, type AttributeWriter, required } from './attributes.ts';
import { type Connection, NLM_F, type Request } from './connection.ts';
import { attributesOf, type Message, requestOf } from './nfnetlink.ts';

/** One end of a tracked flow. */
export interface Endpoint {
  /** 4 or 16 bytes. */
  readonly address: Buffer;
  readonly port: number;
}

/** A flow that connection tracking knows. With NAT, its answers come from, or go to, other ends than its first packet's. */
export interface Flow {
  readonly family: Family;
  readonly protocol: Protocol;
  /** The ends of the first packet, as it arrived. */
  readonly source: Endpoint;
  readonly destination: Endpoint;
  /** The ends of the answers to it, as these start. */
  readonly answers: { readonly source: Endpoint; readonly destination: Endpoint };
  /** TCP that is over. Its entry only waits to expire. */
  readonly ended: boolean;
  /**
   * TCP that was seen from its first packet on, so that `source` opened it. A flow that is tracked from its middle on begins
   * with a packet from either end, and so does UDP after a pause.
   */
  readonly fromStart: boolean;
  /** Packets went both ways, so the kernel keeps the entry when there are too many. For TCP, the handshake is complete. */
  readonly assured: boolean;
  /** The attributes that name this entry, as the kernel gave them. */
  readonly handle: readonly (readonly [type: number, value: Buffer])[];
}

// include/uapi/linux/netfilter/nfnetlink.h and nfnetlink_conntrack.h, nf_conntrack_tcp.h
const NFNL_SUBSYS_CTNETLINK = 1;
const IPCTNL_MSG_CT = {
  NEW: NFNL_SUBSYS_CTNETLINK << 8,
  GET: (NFNL_SUBSYS_CTNETLINK << 8) | 1,
  DELETE: (NFNL_SUBSYS_CTNETLINK << 8) | 2,
} as const;
const CTA = {
  TUPLE_ORIG: 1,
  TUPLE_REPLY: 2,
  STATUS: 3,
  PROTOINFO: 4,
  TIMEOUT: 7,
  ID: 12,
  ZONE: 18,
  FILTER: 25,
} as const;
const CTA_FILTER_ORIG_FLAGS = 1;
/** Compares only the source address of CTA_TUPLE_ORIG (net/netfilter/nf_internals.h). */
const CTA_FILTER_F_CTA_IP_SRC = 1;
const CTA_TUPLE = { IP: 1, PROTO: 2 } as const;
const CTA_IP = { V4_SRC: 1, V4_DST: 2, V6_SRC: 3, V6_DST: 4 } as const;
const CTA_PROTO = { NUM: 1, SRC_PORT: 2, DST_PORT: 3 } as const;
const CTA_PROTOINFO_TCP = 1;
const CTA_PROTOINFO_TCP_STATE = 1;
const CTA_PROTOINFO_TCP_FLAGS_ORIGINAL = 4;
/** Set for connections that are tracked from their middle on (net/netfilter/nf_conntrack_proto_tcp.c, tcp_new). */
const IP_CT_TCP_FLAG_BE_LIBERAL = 8;
const TCP_CONNTRACK = { ESTABLISHED: 3, LAST_ACK: 6, TIME_WAIT: 7, CLOSE: 8 } as const;
const ENDED: readonly (number | undefined)[] = [
  TCP_CONNTRACK.LAST_ACK,
  TCP_CONNTRACK.TIME_WAIT,
  TCP_CONNTRACK.CLOSE,
];
const PROTOCOLS = new Map<number, Protocol>([
  [IPPROTO.tcp, 'tcp'],
  [IPPROTO.udp, 'udp'],
]);
/** The kernel's own time-out for an established connection, in seconds (nf_conntrack_tcp_timeout_established). */
const DETOUR_TIMEOUT = 5 * 24 * 60 * 60;

/** Asks for all flows of a family. */
export function listFlows(family: Family): Request {
  return requestOf(
    message(IPCTNL_MSG_CT.GET, 0, () => {}),
    AF[family],
  );
}

/** Asks for the flows whose first packet came from that address, of 4 or 16 bytes. */
export function listFlowsFrom(address: Buffer): Request {
  const [family, source] =
    familyOf(address) === 'ipv4' ? ([AF.ipv4, CTA_IP.V4_SRC] as const) : ([AF.ipv6, CTA_IP.V6_SRC] as const);
  return requestOf(
    message(IPCTNL_MSG_CT.GET, 0, writer => {
      writer.nested(CTA.TUPLE_ORIG, tuple => tuple.nested(CTA_TUPLE.IP, ip => ip.bytes(source, address)));
      writer.nested(CTA.FILTER, filter =>
        filter.bytes(CTA_FILTER_ORIG_FLAGS, Buffer.from([CTA_FILTER_F_CTA_IP_SRC, 0, 0, 0])),
      );
    }),
    family,
  );
}

/** Ends the tracking of a flow, so that its next packet is a new one. ENOENT if it has ended by itself. */
export function deleteFlow({ family, handle }: Flow): Request {
  return requestOf(
    message(IPCTNL_MSG_CT.DELETE, 0, writer => {
      for (const [type, value] of handle)
        if (type === CTA.TUPLE_ORIG) writer.nested(type, nest => nest.raw(value));
        else writer.bytes(type, value);
    }),
    AF[family],
  );
}

/**
 * Puts a flow without NAT in the place of a deleted, forwarded one. What its answering end still sends then leaves this host
 * unchanged, and the other end does not know it. Without this, the next answer would begin a flow of its own, and masquerading
 * may give it the old address and port. If a port is published under its own number, the connection then went on (tested).
 * EEXIST if that has happened: {@link deleteAnswers} ends it.
 */
export function detourFlow({ family, protocol, answers, handle }: Flow): Request {
  return requestOf(
    message(IPCTNL_MSG_CT.NEW, NLM_F.CREATE | NLM_F.EXCL, writer => {
      writeTuple(writer, CTA.TUPLE_ORIG, protocol, answers.source, answers.destination);
      writeTuple(writer, CTA.TUPLE_REPLY, protocol, answers.destination, answers.source);
      writer.be32(CTA.STATUS, IPS.confirmed | IPS['seen-reply'] | IPS.assured);
      writer.be32(CTA.TIMEOUT, DETOUR_TIMEOUT);
      if (protocol === 'tcp')
        writer.nested(CTA.PROTOINFO, info =>
          info.nested(CTA_PROTOINFO_TCP, tcp => tcp.u8(CTA_PROTOINFO_TCP_STATE, TCP_CONNTRACK.ESTABLISHED)),
        );
      writeZone(writer, handle);
    }),
    AF[family],
  );
}

/** Ends the flow that the answers of this one belong to now. */
export function deleteAnswers({ family, protocol, answers, handle }: Flow): Request {
  return requestOf(
    message(IPCTNL_MSG_CT.DELETE, 0, writer => {
      writeTuple(writer, CTA.TUPLE_ORIG, protocol, answers.source, answers.destination);
      writeZone(writer, handle);
    }),
    AF[family],
  );
}

function writeZone(writer: AttributeWriter, handle: Flow['handle']): void {
  for (const [type, value] of handle) if (type === CTA.ZONE) writer.bytes(type, value);
}

function writeTuple(
  writer: AttributeWriter,
  type: number,
  protocol: Protocol,
  from: Endpoint,
  to: Endpoint,
): void {
  const [source, destination] =
    familyOf(from.address) === 'ipv4' ? [CTA_IP.V4_SRC, CTA_IP.V4_DST] : [CTA_IP.V6_SRC, CTA_IP.V6_DST];
  writer.nested(type, tuple => {
    tuple.nested(CTA_TUPLE.IP, ip => {
      ip.bytes(source, from.address);
      ip.bytes(destination, to.address);
    });
    tuple.nested(CTA_TUPLE.PROTO, proto => {
      proto.u8(CTA_PROTO.NUM, IPPROTO[protocol]);
      proto.be16(CTA_PROTO.SRC_PORT, from.port);
      proto.be16(CTA_PROTO.DST_PORT, to.port);
    });
  });
}

function message(type: number, flags: number, write: Message['write']): Message {
  return { type, flags, subject: 'tracked connections', write };
}

/** The answers to such requests, without flows that have no ports. */
export async function readFlows(connection: Connection, requests: readonly Request[]): Promise<Flow[]> {
  const flows: Flow[] = [];
  for (const request of requests)
    for (const { payload } of await connection.dump(request)) {
      const flow = decodeFlow(payload);
      if (flow) flows.push(flow);
    }
  return flows;
}

/** The flow in one message of a dump; undefined for a flow without ports, such as a ping. */
export function decodeFlow(payload: Buffer): Flow | undefined {
  const reader = attributesOf(payload);
  const handle: [number, Buffer][] = [];
  let original: Tuple | undefined;
  let answers: Tuple | undefined;
  let tcp: TcpInfo = {};
  let status = 0;
  while (reader.next()) {
    if (reader.type === CTA.TUPLE_ORIG) original = decodeTuple(reader.nested());
    else if (reader.type === CTA.TUPLE_REPLY) answers = decodeTuple(reader.nested());
    else if (reader.type === CTA.STATUS) status = reader.be32();
    else if (reader.type === CTA.PROTOINFO) tcp = decodeTcp(reader.nested());
    if (reader.type === CTA.TUPLE_ORIG || reader.type === CTA.ID || reader.type === CTA.ZONE)
      handle.push([reader.type, reader.bytes()]);
  }
  const { source, destination, protocol } = required(original, 'tuple of a tracked connection');
  const replies = required(answers, 'answers of a tracked connection');
  const known = PROTOCOLS.get(protocol);
  if (known === undefined || source.address.length !== destination.address.length) return undefined;
  return {
    family: familyOf(source.address),
    protocol: known,
    source,
    destination,
    answers: { source: replies.source, destination: replies.destination },
    ended: ENDED.includes(tcp.state),
    fromStart: tcp.flags !== undefined && (tcp.flags & IP_CT_TCP_FLAG_BE_LIBERAL) === 0,
    assured: (status & IPS.assured) !== 0,
    handle,
  };
}

interface Tuple {
  readonly source: Endpoint;
  readonly destination: Endpoint;
  readonly protocol: number;
}

function decodeTuple(reader: AttributeReader): Tuple {
  let source: Buffer | undefined;
  let destination: Buffer | undefined;
  let protocol = 0;
  let [sourcePort, destinationPort] = [0, 0];
  while (reader.next()) {
    const nest = reader.nested();
    if (reader.type === CTA_TUPLE.IP)
      while (nest.next()) {
        if (nest.type === CTA_IP.V4_SRC || nest.type === CTA_IP.V6_SRC) source = nest.bytes();
        else if (nest.type === CTA_IP.V4_DST || nest.type === CTA_IP.V6_DST) destination = nest.bytes();
      }
    else if (reader.type === CTA_TUPLE.PROTO)
      while (nest.next()) {
        if (nest.type === CTA_PROTO.NUM) protocol = nest.u8();
        else if (nest.type === CTA_PROTO.SRC_PORT) sourcePort = nest.be16();
        else if (nest.type === CTA_PROTO.DST_PORT) destinationPort = nest.be16();
      }
  }
  return {
    source: { address: required(source, 'source of a tracked connection'), port: sourcePort },
    destination: {
      address: required(destination, 'destination of a tracked connection'),
      port: destinationPort,
    },
    protocol,
  };
}

interface TcpInfo {
  readonly state?: number;
  /** The flags of the end that is `source`. */
  readonly flags?: number;
}

/** `CTA_PROTOINFO_TCP`; its flags are `struct nf_ct_tcp_flags {u8 flags; u8 mask}` */
function decodeTcp(reader: AttributeReader): TcpInfo {
  let info: TcpInfo = {};
  while (reader.next()) {
    if (reader.type !== CTA_PROTOINFO_TCP) continue;
    const nest = reader.nested();
    while (nest.next()) {
      if (nest.type === CTA_PROTOINFO_TCP_STATE) info = { ...info, state: nest.u8() };
      else if (nest.type === CTA_PROTOINFO_TCP_FLAGS_ORIGINAL) info = { ...info, flags: nest.be16() >> 8 };
    }
  }
  return info;
}
