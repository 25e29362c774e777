import { isIPv4, isIPv6 } from 'node:net';
import { formatAddress, masked, parseAddress, unmapped } from './address.ts';
import { ADDRESS_SIZE, type Family } from './family.ts';
import { bad, good, type Outcome } from './outcome.ts';

/** A network. `address` has 4 or 16 bytes in network order, with 0 in all bits beyond `length`. */
export interface Network {
  readonly family: Family;
  readonly address: Uint8Array;
  readonly length: number;
}

export const EXPECTED_NETWORK =
  'an address or network such as "192.0.2.7", "192.0.2.0/24" or "2001:db8::/32"';

/** Reads `192.0.2.7`, `192.0.2.0/24`, `2001:db8::/32`. A single address is a network of 32 or 128 bits. */
export function readNetwork(written: string): Outcome<Network> {
  const slash = written.indexOf('/');
  const text = slash === -1 ? written : written.slice(0, slash);
  const family = familyOf(text);
  if (family === undefined) return bad(notAnAddress(text), EXPECTED_NETWORK);
  const address = parseAddress(text);
  const bits = ADDRESS_SIZE[family] * 8;
  const length = slash === -1 ? bits : lengthOf(written.slice(slash + 1), bits);
  if (length === undefined) return bad('has a wrong length after "/"', `0 to ${bits}`);
  const mapped = unmapped(address);
  if (mapped.length < address.length) {
    const suffix = slash === -1 || length < 96 ? '' : `/${length - 96}`;
    return bad('is an IPv4-mapped address', `IPv4: "${formatAddress(mapped)}${suffix}"`);
  }
  const network: Network = { family, address: masked(address, length), length };
  if (!equalBytes(network.address, address)) {
    return bad(
      'has host bits set',
      `the network "${formatNetwork(network)}" or the address "${formatAddress(address)}"`,
    );
  }
  return good(network);
}

/** The text that {@link readNetwork} reads, in the shortest form: no length for a single address. */
export function formatNetwork({ address, length }: Network): string {
  const text = formatAddress(address);
  return length === address.length * 8 ? text : `${text}/${length}`;
}

/** The same addresses in as few networks as possible: IPv4 first, by address, disjoint. */
export function mergeNetworks(networks: readonly Network[]): readonly Network[] {
  const merged: Network[] = [];
  for (const network of networks.toSorted(compareNetworks)) {
    const before = merged.at(-1);
    if (before !== undefined && contains(before, network)) continue;
    merged.push(network);
    mergeHalves(merged);
  }
  return merged;
}

/** Replaces the last two networks while they are the halves of one. */
function mergeHalves(networks: Network[]): void {
  for (;;) {
    const [low, high] = [networks.at(-2), networks.at(-1)];
    if (low === undefined || high === undefined || low.length !== high.length || low.length === 0) return;
    const whole = {
      family: low.family,
      address: masked(low.address, low.length - 1),
      length: low.length - 1,
    };
    if (!contains(whole, high)) return;
    networks.splice(-2, 2, whole);
  }
}

function compareNetworks(a: Network, b: Network): number {
  return a.address.length - b.address.length || Buffer.compare(a.address, b.address) || a.length - b.length;
}

function contains(outer: Network, inner: Network): boolean {
  return outer.length <= inner.length && isWithin(inner.address, outer);
}

/** Whether an address of any family belongs to the network. */
export function isWithin(address: Uint8Array, network: Network): boolean {
  return equalBytes(masked(address, network.length), network.address);
}

/** Node's own check is strict: four decimal numbers, none with a leading zero. But it allows zone ids. */
function familyOf(text: string): Family | undefined {
  if (isIPv4(text)) return 'ipv4';
  return isIPv6(text) && !text.includes('%') ? 'ipv6' : undefined;
}

function notAnAddress(text: string): string {
  if (text.includes('%')) return 'has a zone, which packets do not carry';
  if (/^[\d.]+$/.test(text)) return 'is no address (IPv4 has four decimal numbers without leading zeros)';
  return 'is no address';
}

function lengthOf(text: string, bits: number): number | undefined {
  return /^(0|[1-9]\d{0,2})$/.test(text) && Number(text) <= bits ? Number(text) : undefined;
}

function equalBytes(a: Uint8Array, b: Uint8Array): boolean {
  return Buffer.compare(a, b) === 0;
}
