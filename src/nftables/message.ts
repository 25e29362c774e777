import { NFNL_SUBSYS_NFTABLES } from '../netlink/nfnetlink.ts';

const message = (number: number) => (NFNL_SUBSYS_NFTABLES << 8) | number;

/** enum nf_tables_msg_types (include/uapi/linux/netfilter/nf_tables.h), as types of netlink messages. */
export const NFT_MSG = {
  NEWTABLE: message(0),
  GETTABLE: message(1),
  DELTABLE: message(2),
  NEWCHAIN: message(3),
  GETCHAIN: message(4),
  DELCHAIN: message(5),
  NEWRULE: message(6),
  GETRULE: message(7),
  DELRULE: message(8),
  NEWSET: message(9),
  GETSET: message(10),
  DELSET: message(11),
  NEWSETELEM: message(12),
  GETSETELEM: message(13),
  DELSETELEM: message(14),
  NEWGEN: message(15),
  GETGEN: message(16),
  TRACE: message(17),
  NEWOBJ: message(18),
  GETOBJ: message(19),
  DELOBJ: message(20),
  GETFLOWTABLE: message(23),
} as const;

/** enum nft_list_attributes */
export const NFTA_LIST_ELEM = 1;

/** The kind of object that a named counter is. */
export const NFT_OBJECT_COUNTER = 1;
