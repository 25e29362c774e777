import { required } from '../../netlink/attributes.ts';
import type { Codec } from './codec.ts';

/** Sends the packet to the program that listens at the NFLOG group, with a prefix of at most 127 bytes. */
export interface Log {
  readonly kind: 'log';
  readonly prefix: string;
  readonly group: number;
  /** The kernel sends its packets after this many at the latest. Without it, the listening program decides. */
  readonly queueThreshold?: number;
}

/** enum nft_log_attributes. The kernel reports a snap length or a queue threshold of 0 if there is none. */
const NFTA_LOG = { GROUP: 1, PREFIX: 2, SNAPLEN: 3, QTHRESHOLD: 4, LEVEL: 5, FLAGS: 6 } as const;

export const log: Codec<Log> = {
  encode(writer, { prefix, group, queueThreshold }) {
    writer.string(NFTA_LOG.PREFIX, prefix);
    writer.be16(NFTA_LOG.GROUP, group);
    if (queueThreshold !== undefined) writer.be16(NFTA_LOG.QTHRESHOLD, queueThreshold);
  },
  decode(reader) {
    let prefix = '';
    let group: number | undefined;
    let threshold = 0;
    let known = true;
    while (reader.next()) {
      if (reader.type === NFTA_LOG.GROUP) group = reader.be16();
      else if (reader.type === NFTA_LOG.PREFIX) prefix = reader.string();
      else if (reader.type === NFTA_LOG.SNAPLEN) known &&= reader.be32() === 0;
      else if (reader.type === NFTA_LOG.QTHRESHOLD) threshold = reader.be16();
      else known = false;
    }
    if (!known) return undefined;
    return {
      kind: 'log',
      prefix,
      group: required(group, 'log group'),
      ...(threshold > 0 && { queueThreshold: threshold }),
    };
  },
  text({ prefix, group, queueThreshold }, rule) {
    const threshold = queueThreshold === undefined ? '' : ` queue-threshold ${queueThreshold}`;
    rule.say(`log prefix ${JSON.stringify(prefix)} group ${group}${threshold}`);
  },
};
