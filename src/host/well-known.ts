import { readFileSync } from 'node:fs';

/** Ports that have names. */
export interface WellKnown {
  /** `22/tcp` is `ssh`. */
  readonly nameOf: ReadonlyMap<string, string>;
  /** `ssh/tcp` is 22; aliases, too. */
  readonly portOf: ReadonlyMap<string, number>;
}

/** Names that are known even without /etc/services. */
const FEW = 'ssh 22/tcp\nhttp 80/tcp www\nhttps 443/tcp\n';

export function readWellKnown(): WellKnown {
  try {
    return parseWellKnown(`${readFileSync('/etc/services', 'utf8')}\n${FEW}`);
  } catch {
    return parseWellKnown(FEW);
  }
}

/** Reads the text of /etc/services, services(5): `http 80/tcp www # comment`. If a port has several names, the first counts. */
export function parseWellKnown(text: string): WellKnown {
  const nameOf = new Map<string, string>();
  const portOf = new Map<string, number>();
  for (const [line] of text.matchAll(/^[^#\n]+/gm)) {
    const [name = '', number = '', ...aliases] = line.trim().split(/\s+/);
    const [, port, protocol] = /^(\d+)\/(tcp|udp)$/.exec(number) ?? [];
    if (port === undefined) continue;
    if (!nameOf.has(number)) nameOf.set(number, name);
    for (const it of [name, ...aliases])
      if (!portOf.has(`${it}/${protocol}`)) portOf.set(`${it}/${protocol}`, Number(port));
  }
  return { nameOf, portOf };
}
