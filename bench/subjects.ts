/** The subjects of the measurements: the program, configurations of many services, and the article's ruleset for as many. */
import { resolve } from 'node:path';
import type { Command } from './runner.ts';

/** As packages and units start it. */
export const program = resolve('compiled/knockd-nft.cjs');
/** What most clients have. */
export const client = resolve('dist/client.cjs');

export const bareNode: Command = { command: [process.execPath, '-e', '0'], cleanup: ['true'] };

export interface ServiceConfig {
  readonly ports: readonly number[];
  readonly sequences: Readonly<Record<string, readonly number[]>>;
}

/** Ports of the service with this number: 10000 on are guarded, 20000 to 59999 are knocked on. At most 10,000 sequences. */
export function guardedPort(service: number): number {
  return 10_000 + service;
}

export function knocksOf(sequence: number): readonly [number, number, number, number] {
  return [20_000 + sequence, 50_000 + sequence, 30_000 + sequence, 40_000 + sequence];
}

/** A configuration with this number of services, each with this number of users. */
export function configuration(services: number, users = 1, clients = 65_535): object {
  const names = [...Array(services).keys()];
  return {
    limits: { clients },
    services: Object.fromEntries(
      names.map(service => [`service${service}`, { ports: [guardedPort(service)], ...sequences(service) }]),
    ),
  };

  function sequences(service: number): object {
    if (users === 1) return { sequence: knocksOf(service) };
    const list = [...Array(users).keys()];
    return {
      sequences: Object.fromEntries(list.map(user => [`user${user}`, knocksOf(service * users + user)])),
    };
  }
}

/** The article's ruleset for the same services, IPv4 only, as the article has it: two sets and a rule for each step. */
export function article(services: number): string {
  const names = [...Array(services).keys()];
  const sets = names.map(
    service => `
	set service${service}_progress_ipv4 { type ipv4_addr . inet_service; flags dynamic,timeout; }
	set service${service}_clients_ipv4 { type ipv4_addr; flags dynamic,timeout; }`,
  );
  const rules = names.map(service => {
    const [first, second, third, fourth] = knocksOf(service);
    const progress = `@service${service}_progress_ipv4`;
    const clients = `@service${service}_clients_ipv4`;
    const port = guardedPort(service);
    return `
		tcp dport ${first} update ${progress} { ip saddr . ${second} timeout 5s } drop
		tcp dport ${second} ip saddr . tcp dport ${progress} update ${progress} { ip saddr . ${third} timeout 5s } drop
		tcp dport ${third} ip saddr . tcp dport ${progress} update ${progress} { ip saddr . ${fourth} timeout 5s } drop
		tcp dport ${fourth} ip saddr . tcp dport ${progress} update ${clients} { ip saddr timeout 10s } drop
		ip saddr ${clients} tcp dport ${port} ct state new accept
		tcp dport ${port} drop`;
  });
  return `table inet filter {${sets.join('')}
	chain input {
		type filter hook input priority 0; policy accept;
		ct state established,related accept${rules.join('')}
	}
}
`;
}

/** Connection tracking, and no chain that a packet goes through. */
export const tracking = `table inet filter {
	chain nowhere { ct state established accept; }
}
`;

/** Nothing but connection tracking, and the rule that every firewall begins with. */
export const conntrackOnly = `table inet filter {
	chain input { type filter hook input priority 0; policy accept; ct state established accept; }
}
`;

/**
 * A firewall behind what is measured, the same for all: it drops what gets there, so that no answer is sent and no
 * connection is recorded.
 */
export const behind = `table inet behind {
	chain input { type filter hook input priority 100; policy drop; meta l4proto ipv6-icmp accept; }
}
`;
