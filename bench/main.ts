/**
 * `npm run bench`: words choose among `packets`, `load`, `supervisor`, `trial`, `client`, `status`, `tokens`, `runtime`, `large` and
 * `peers`. Without a word it runs all but the last three. `against COMMIT` compares this program with that of a commit.
 */
import { missing } from '../test/kernel/world.ts';
import { benchAgainst } from './against.ts';
import { benchClient } from './client.ts';
import { benchLoad } from './load.ts';
import { benchPackets } from './packets.ts';
import { benchPeers } from './peers/peers.ts';
import { benchRuntime } from './runtime.ts';
import { benchStatus } from './status.ts';
import { benchSupervisor } from './supervisor.ts';
import { benchTokens } from './tokens.ts';
import { benchTrial } from './trial.ts';

const words = process.argv.slice(2);
const chosen =
  words.length > 0 ? words : ['packets', 'load', 'supervisor', 'trial', 'client', 'status', 'tokens'];
const why = missing('namespaces', 'nft', 'knockd');
if (why) {
  console.error(`cannot measure: ${why}`);
  process.exit(77);
}

const ends: (() => unknown)[] = [];
const t = { teardown: (end: () => unknown) => void ends.push(end) };
try {
  if (words[0] === 'against') await benchAgainst(t, words[1] ?? 'HEAD');
  if (chosen.includes('packets')) await benchPackets(t);
  if (chosen.includes('load')) await benchLoad(t, false);
  if (chosen.includes('supervisor')) await benchSupervisor(t);
  if (chosen.includes('trial')) await benchTrial(t);
  if (chosen.includes('client')) await benchClient(t);
  if (chosen.includes('status')) await benchStatus(t);
  if (chosen.includes('tokens')) await benchTokens(t);
  if (chosen.includes('runtime')) await benchRuntime(t);
  if (chosen.includes('large')) await benchLoad(t, true);
  if (chosen.includes('peers')) await benchPeers(t);
} finally {
  for (const end of ends) await end();
}
