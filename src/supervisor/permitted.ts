import { setTimeout } from 'node:timers/promises';
import { Connection } from '../netlink/connection.ts';
import { NetlinkError } from '../netlink/errors.ts';
import { NETLINK_NETFILTER, openSocket } from '../netlink/socket.ts';
import { readGeneration } from '../nftables/transaction.ts';

/** How often to ask if it is not permitted, and the pause in between, in milliseconds. */
const ASKED = 3;
const ASK_AGAIN = 200;

/** A lack of permission does not go away by itself. All other errors may. */
export async function refuseUnlessPermitted(): Promise<void> {
  for (let left = ASKED; ; left--) {
    try {
      const connection = new Connection(openSocket(NETLINK_NETFILTER));
      await readGeneration(connection).finally(() => connection.close());
      return;
    } catch (error) {
      if (!(error instanceof NetlinkError) || error.code !== 'EPERM') return;
      if (left <= 1) throw error;
      await setTimeout(ASK_AGAIN);
    }
  }
}
