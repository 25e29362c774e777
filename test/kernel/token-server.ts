/** A server that checks tokens, as nft writes it: the clients are tried against it. */
import { deriveToken, windowAt } from '../../src/token/derive.ts';
import type { World } from './world.ts';

export const SECRET = '000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f';
const KEY = { secret: Buffer.from(SECRET, 'hex'), realm: 'test', service: 'ssh' };

export interface Guarding {
  /** Seconds that the server's clock is before ours. */
  readonly clock?: number;
  readonly openFor?: string;
  readonly singleUse?: boolean;
  /** Drops all that comes to the token port. */
  readonly noUdp?: boolean;
  /** The TCP port behind it, 22 unless told. */
  readonly port?: number;
}

/** A table of nft's that opens a port to tokens, as docs/protocol.md has it. */
export function guard({
  clock = 0,
  openFor = '5m',
  singleUse = false,
  noUdp = false,
  port = 22,
}: Guarding = {}): string {
  const now = Date.now() + clock * 1000;
  const windows = Array.from({ length: 60 }, (_, index) => windowAt(now) - 3 + index);
  const living = windows.filter(window => (window + 1) * 60_000 + 90_000 > now);
  const elements = living.map(window => `0x${Buffer.from(deriveToken(KEY, window)).toString('hex')} : 0x1`);
  const open = (field: string) => `
    ${field} != @used meta mark set ${field} map @tokens add @used { ${field} timeout 25h limit rate 1/week burst 1 packets } goto open
    ${field} != @used counter name wrong_tokens
    ${field} @known counter name repeated_tokens`;
  const enter = (family: string, version: number) =>
    singleUse
      ? `${family} saddr @clients_ipv${version} delete @clients_ipv${version} { ${family} saddr } counter name accepted accept`
      : `${family} saddr @clients_ipv${version} counter name accepted accept`;
  return `table inet server {
  counter opened { }
  counter accepted { }
  counter wrong_tokens { }
  counter repeated_tokens { }
  map tokens { typeof @th,256,256 : meta mark; flags dynamic,timeout; elements = { ${elements.join(', ')} }; }
  set known { typeof @th,256,256; elements = { ${elements.map(element => element.split(' ')[0]).join(', ')} }; }
  set used { typeof @th,256,256; size 1000; flags dynamic,timeout; }
  set clients_ipv4 { type ipv4_addr; size 100; flags dynamic,timeout; }
  set clients_ipv6 { type ipv6_addr; size 100; flags dynamic,timeout; }
  chain open {
    meta mark set 0
    update @clients_ipv4 { ip saddr timeout ${openFor} } counter name opened
    update @clients_ipv6 { ip6 saddr timeout ${openFor} } counter name opened
  }
  chain token {
    ${noUdp ? 'drop' : open('@th,256,256')}
  }
  chain payload {
    ${open('@ih,192,256')}
  }
  chain guard {
    ${enter('ip', 4)}
    ${enter('ip6', 6)}
    drop
  }
  chain input {
    type filter hook input priority -10
    tcp dport 80 ct state established ct status assured jump payload
    ct state established accept
    udp dport 62201 goto token
    tcp dport ${port} goto guard
  }
}`;
}

/** What the kernel counted: packets of each counter. */
export async function counted(world: World): Promise<Record<string, number>> {
  const list = await world.list();
  const counters = list.matchAll(/counter (\w+) \{\s*packets (\d+)/g);
  return Object.fromEntries([...counters].map(([, name, packets]) => [name, Number(packets)]));
}
