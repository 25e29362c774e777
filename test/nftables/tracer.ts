/** A program for the tests: prints the kernel's reports on traced packets in its network namespace. */
import { NETLINK_NETFILTER, openSocket } from '../../src/netlink/socket.ts';
import { decodeTraces, NFNLGRP_NFTRACE } from '../../src/nftables/trace.ts';

const socket = openSocket(NETLINK_NETFILTER, NFNLGRP_NFTRACE);
socket.onDatagram(datagram => {
  for (const { id, table, chain, by, verdict, target } of decodeTraces(datagram)) {
    if (by === 'return') continue; // nft skips it
    const what =
      by === 'policy' ? `policy ${verdict}` : `rule (verdict ${[verdict, target].filter(Boolean).join(' ')})`;
    process.stdout.write(`trace id ${id.toString(16).padStart(8, '0')} ${table} ${chain} ${what}\n`);
  }
});
process.stdout.write('listening\n');
process.stdin.resume();
setInterval(() => {}, 1000);
