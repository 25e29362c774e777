/** docs/getting-started.md, typed on Debian without Node.js, and timed. */
import t from 'tap';
import { missingTmux } from '../cli/tmux.ts';
import { typeGettingStarted } from '../system/getting-started.ts';
import { debian, missingTree } from './tree.ts';

const skip = missingTree() || missingTmux();

for (const suite of ['bookworm', 'trixie'] as const)
  t.test(`from the package to a login into a hidden ssh, on ${suite}`, { skip }, async t =>
    typeGettingStarted(t, await debian(suite)),
  );
