/**
 * Words that nft takes for something else in place of a table's name, so that an administrator could not list or delete the
 * table. Found by giving nft 1.0.6 every word of its scanner (src/scanner.l) as a name in `add`, `list`, `reset` and `delete`
 * commands. The last line has the words that only newer versions (to 1.1.5) know.
 */
const WORDS = `
accept add ah all and arp bridge cgroup chain chains comment comp constant continue counter counters cpu
create ct day dccp define delete describe device devices dnat drop dst dup dynamic ecn element elements eq
esp ether exists expires export exthdr fib flags flow flowtable flowtables flush frag fwd ge get goto gt
handle hbh hook hooks hour ibriport ibrname icmp icmpv6 igmp iif iifgroup iifname iiftype import include
index inet insert interval ip ip6 ipsec jhash jump le limit limits list log lshift lt map maps mark
masquerade meta meter meters mh missing monitor ne netdev nftrace not notrack numgen obriport obrname
offload oif oifgroup oifname oiftype or osf pkttype policy position priority queue quota quotas random
redefine redirect reject rename replace reset return rshift rt rt0 rt2 rtclassid rule ruleset sctp secmark
secmarks set sets size skgid skuid snat socket srh symhash synproxy synproxys table tables tcp th time
timeout tproxy type typeof udp udplite undefine update vlan vmap xor xt
destroy geneve gre gretap last rules tunnel tunnels vni vxlan
`;

export function isKeyword(name: string): boolean {
  return keywords().includes(name);
}

export function keywords(): readonly string[] {
  return WORDS.trim().split(/\s+/);
}
