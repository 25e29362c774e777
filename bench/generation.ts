/** A program that tells each new generation of the ruleset by the time at which it was there: nanoseconds of the monotonic clock. */
import { setTimeout as delay } from 'node:timers/promises';
import { Connection } from '../src/netlink/connection.ts';
import { NETLINK_NETFILTER, openSocket } from '../src/netlink/socket.ts';
import { readGeneration } from '../src/nftables/transaction.ts';

const EVERY = 3; // milliseconds

const connection = new Connection(openSocket(NETLINK_NETFILTER));
for (let last = await readGeneration(connection); ; await delay(EVERY)) {
  const generation = await readGeneration(connection);
  if (generation !== last) console.log(`${process.hrtime.bigint()}`);
  last = generation;
}
