/** docs/getting-started.md, typed as it stands there, shows what stands there. */
import t from 'tap';
import { missingTmux } from '../cli/tmux.ts';
import { lacking } from '../kernel/process.ts';
import { typeGettingStarted } from './getting-started.ts';
import { missing } from './lab.ts';

const skip = missing() || missingTmux() || lacking('sshd', 'ssh', 'scp', 'ssh-keygen', 'useradd');

t.test('from the package to a login into a hidden ssh', { skip }, t => typeGettingStarted(t));
