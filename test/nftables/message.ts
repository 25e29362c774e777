/** The input for tests of decoders: a set as the program makes it, and the bytes of a message. */
import { AttributeWriter } from '../../src/netlink/attributes.ts';
import type { Message } from '../../src/netlink/nfnetlink.ts';
import { DATATYPES } from '../../src/nftables/datatype.ts';
import type { NftSet } from '../../src/nftables/ruleset.ts';

export const STEPS: NftSet = {
  name: 'steps',
  types: [DATATYPES.mark, DATATYPES.inet_proto, DATATYPES.inet_service],
  data: DATATYPES.mark,
  size: 10,
  dynamic: true,
  timeout: true,
  interval: false,
};

/** The attributes of a message, after struct nfgenmsg. */
export function attributesOf(message: Message): Buffer {
  const writer = new AttributeWriter();
  message.write(writer);
  return Buffer.from(writer.finish());
}
