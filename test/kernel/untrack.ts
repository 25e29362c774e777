/** A program for tests: ends the tracking of all connections of its network namespace, and does nothing else. */
import { withConnection } from '../../src/host/access.ts';
import { decodeFlow, deleteFlow, listFlows } from '../../src/netlink/conntrack.ts';
import { NETLINK_NETFILTER } from '../../src/netlink/socket.ts';

await withConnection(NETLINK_NETFILTER, async connection => {
  for (const family of ['ipv4', 'ipv6'] as const)
    for (const { payload } of await connection.dump(listFlows(family))) {
      const flow = decodeFlow(payload);
      if (!flow) continue;
      await connection.acknowledge(deleteFlow(flow));
      process.stdout.write(`${flow.destination.port}/${flow.protocol}\n`);
    }
});
