import { isNoHost } from '../inet/address.ts';
import { EXPECTED_NETWORK, formatNetwork, type Network, readNetwork } from '../inet/network.ts';
import { bad } from '../inet/outcome.ts';
import type { Shape } from './shape.ts';

export const network: Shape<Network> = {
  schema: { type: 'string', pattern: '^[0-9A-Fa-f.:]+(/[0-9]{1,3})?$' },
  read(node, report, where) {
    const outcome = node.kind === 'string' ? readNetwork(node.value) : bad('is no address', EXPECTED_NETWORK);
    const read = report.outcome(node, where, outcome);
    const doubt = read && doubtAbout(read);
    if (doubt !== undefined) report.warning(node.at, `${where}: ${doubt}`);
    return read;
  },
};

/** A network that is valid, but hardly what its author means. */
function doubtAbout(network: Network): string | undefined {
  const { family, address, length } = network;
  const version = family === 'ipv4' ? 'IPv4' : 'IPv6';
  const text = formatNetwork(network);
  if (length === 0) return `"${text}" is every ${version} address: over ${version} nothing is guarded`;
  if (length < address.length * 8 || !isNoHost(address)) return undefined;
  return `"${text}" is no host's address; every ${version} address is "${family === 'ipv4' ? '0.0.0.0' : '::'}/0"`;
}
