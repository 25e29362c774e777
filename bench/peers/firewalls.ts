/**
 * The rivals' configurations as text. As in `subjects.ts`, each service has a sequence of four, over IPv4, to be knocked within
 * five seconds, and is open for ten.
 */
import { guardedPort, knocksOf } from '../subjects.ts';

const list = (services: number) => [...Array(services).keys()];

/** Behind all rivals, the same: it accepts packets to the first guarded port and to SPA's port, and drops all others. */
export const behind = `table inet behind {
	chain input {
		type filter hook input priority 100; policy drop;
		tcp dport ${guardedPort(0)} accept
		udp dport 62201 accept
		meta l4proto ipv6-icmp accept
	}
}
`;

/** A firewall for a daemon to open: one rule shuts the guarded ports. For `iptables-restore`. */
export function iptablesGuard(services: number): string {
  return `*filter
-A INPUT -m conntrack --ctstate ESTABLISHED,RELATED -j ACCEPT
-A INPUT -p tcp --dport ${guardedPort(0)}:${guardedPort(services - 1)} -j DROP
COMMIT
`;
}

/** The same with a set of clients, whose time-outs the kernel keeps. For `nft -f`. */
export function nftGuard(services: number): string {
  return `table ip guard {
	set clients { type ipv4_addr . inet_service; flags timeout; size 65535; }
	chain input {
		type filter hook input priority 0; policy accept;
		ct state established,related accept
		ip saddr . tcp dport @clients accept
		tcp dport ${guardedPort(0)}-${guardedPort(services - 1)} drop
	}
}
`;
}

/** knockd.conf, with the commands of its manual page, or with one that adds the client to the set. */
export function knockdConf(services: number, by: 'iptables' | 'nft'): string {
  const doors = list(services).map(service => {
    const port = guardedPort(service);
    const rule = `INPUT -s %IP% -p tcp --dport ${port} -j ACCEPT`;
    const commands =
      by === 'iptables'
        ? [
            `start_command = /sbin/iptables -I ${rule}`,
            'cmd_timeout = 10',
            `stop_command = /sbin/iptables -D ${rule}`,
          ]
        : [`command = /usr/sbin/nft add element ip guard clients { %IP% . ${port} timeout 10s }`];
    const lines = [
      `sequence = ${knocksOf(service).join(',')}`,
      'seq_timeout = 5',
      'tcpflags = syn',
      ...commands,
    ];
    return `[service${service}]\n${lines.map(line => `  ${line}\n`).join('')}`;
  });
  return `[options]\n${doors.join('\n')}`;
}

export interface SpaKeys {
  readonly key: string;
  readonly hmac: string;
}

/** access.conf: a stanza with keys for each service. */
export function accessConf(keys: readonly SpaKeys[]): string {
  const stanzas = keys.map(
    ({ key, hmac }, service) => `SOURCE ANY
OPEN_PORTS tcp/${guardedPort(service)}
KEY_BASE64 ${key}
HMAC_KEY_BASE64 ${hmac}
FW_ACCESS_TIMEOUT 10
`,
  );
  return stanzas.join('\n');
}

/**
 * `recent`, after the recipe with chains GATE1 to PASSED that DigitalOcean published: a list for each step of each service. A wrong
 * port takes a client out of its list. A client that is in gets one connection. For `iptables-restore`.
 */
export function recent(services: number): string {
  const chains = list(services).flatMap(service =>
    ['', '_gate1', '_gate2', '_gate3', '_gate4', '_passed'].map(name => `:s${service}${name} - [0:0]`),
  );
  const rules = list(services).flatMap(service => {
    const name = `s${service}`;
    const port = guardedPort(service);
    const gates = knocksOf(service).flatMap((knock, index) => [
      ...(index > 0 ? [`-A ${name}_gate${index + 1} -m recent --name ${name}_${index} --remove`] : []),
      `-A ${name}_gate${index + 1} -p tcp --dport ${knock} -m recent --name ${name}_${index + 1} --set -j DROP`,
      index > 0
        ? `-A ${name}_gate${index + 1} -g ${name}_gate1`
        : `-A ${name}_gate1 -p tcp --dport ${port} -j DROP`,
    ]);
    return [
      `-A INPUT -j ${name}`,
      `-A ${name} -m recent --rcheck --seconds 10 --name ${name}_4 -g ${name}_passed`,
      `-A ${name} -m recent --rcheck --seconds 5 --name ${name}_3 -g ${name}_gate4`,
      `-A ${name} -m recent --rcheck --seconds 5 --name ${name}_2 -g ${name}_gate3`,
      `-A ${name} -m recent --rcheck --seconds 5 --name ${name}_1 -g ${name}_gate2`,
      `-A ${name} -g ${name}_gate1`,
      ...gates,
      `-A ${name}_passed -m recent --name ${name}_4 --remove`,
      `-A ${name}_passed -p tcp --dport ${port} -j ACCEPT`,
      `-A ${name}_passed -g ${name}_gate1`,
    ];
  });
  return `*filter
${chains.join('\n')}
-A INPUT -m conntrack --ctstate ESTABLISHED,RELATED -j ACCEPT
${rules.join('\n')}
COMMIT
`;
}

/** The article's rules at their best: a map leads from a port to its rule, and two sets of a fixed size hold clients of all services. */
export function articleByMap(services: number): string {
  const steps = list(services).flatMap(service => {
    const [first, second, third, fourth] = knocksOf(service);
    const progress = (next: number) => `update @progress { ip saddr . ${next} timeout 5s } drop`;
    const known = 'ip saddr . tcp dport @progress';
    return [
      [first, progress(second)],
      [second, `${known} ${progress(third)}`],
      [third, `${known} ${progress(fourth)}`],
      [fourth, `${known} update @clients { ip saddr . ${guardedPort(service)} timeout 10s } drop`],
    ] as const;
  });
  const ways = [
    ...list(services).map(service => `${guardedPort(service)} : goto guarded`),
    ...steps.map(([port]) => `${port} : goto knock${port}`),
  ];
  return `table inet filter {
	set progress { type ipv4_addr . inet_service; flags dynamic,timeout; size 65535; }
	set clients { type ipv4_addr . inet_service; flags dynamic,timeout; size 65535; }
	chain guarded {
		ip saddr . tcp dport @clients accept
		drop
	}
${steps.map(([port, rule]) => `\tchain knock${port} { ${rule}; }\n`).join('')}	chain input {
		type filter hook input priority 0; policy accept;
		ct state established,related accept
		tcp dport vmap { ${ways.join(', ')} }
	}
}
`;
}
