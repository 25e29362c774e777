import { EXPECTED_NETWORK, type Network, readNetwork } from '../inet/network.ts';
import { bad } from '../inet/outcome.ts';
import type { Shape } from './shape.ts';

export const network: Shape<Network> = {
  schema: { type: 'string', pattern: '^[0-9A-Fa-f.:]+(/[0-9]{1,3})?$' },
  read(node, report, where) {
    const outcome = node.kind === 'string' ? readNetwork(node.value) : bad('is no address', EXPECTED_NETWORK);
    return report.outcome(node, where, outcome);
  },
};
