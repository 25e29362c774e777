/** Types docs/getting-started.md as a newcomer would, on this machine's own tree or another. */
import { copyFileSync, cpSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import type { Test } from 'tap';
import { VERSION } from '../../src/version.ts';
import { openTerminal, type Terminal } from '../cli/tmux.ts';
import { until } from '../kernel/loaded.ts';
import { run } from '../kernel/process.ts';
import { makePackage, succeed } from './installed.ts';
import { createLab, type Lab } from './lab.ts';

const DOCUMENT = readFileSync('docs/getting-started.md', 'utf8');
/** From the package to the login, as blocks of what is typed and seen. */
const BLOCKS = (DOCUMENT.match(/^## 1\. [\s\S]*?(?=^## [A-Z])/m)?.[0] ?? '')
  .split(/\n(?! {4}|\n)/)
  .flatMap(text => (/\n {4}/.test(text) ? [text.slice(text.indexOf('\n')).trim().split('\n')] : []))
  .map(lines => lines.map(line => line.replace(/^ {4}/, '')));

const PROMPT = /^(\w+@\w+:\S+\$)(?: (.*))?$/;
const QUESTION = /^(\[\w+\] >)(?: (.*))?$/;

/**
 * A server with sshd and a laptop, whose users know each other. `admin` is root by another name, and what `sudo` runs runs
 * as it stands.
 */
const SCRIPT = `set -e
hostname server
echo '10.77.0.1 server' >>/etc/hosts
useradd --create-home --shell /bin/bash --password '*' you
useradd --create-home --shell /bin/bash --password '*' --non-unique --uid 0 admin
echo "PS1='you@laptop:\\w$ '" >/home/you/.bashrc
echo "PS1='admin@server:\\w$ '" >/home/admin/.bashrc
cp /home/admin/.bashrc /home/admin/.profile
cat >/usr/local/bin/sudo <<'END'
#!/bin/sh
exec "$@"
END
chmod 755 /usr/local/bin/sudo
cat >/etc/ssh/sshd_config <<'END'
AuthorizedKeysFile .ssh/authorized_keys
UsePAM no
UseDNS no
PrintMotd no
Subsystem sftp internal-sftp
END
rm -rf /etc/ssh/sshd_config.d
ssh-keygen -A
mkdir -p /run/sshd /home/admin/.ssh
su you -c 'ssh-keygen -q -t ed25519 -N "" -f ~/.ssh/id_ed25519'
cp /home/you/.ssh/id_ed25519.pub /home/admin/.ssh/authorized_keys
echo "server,10.77.0.1 $(cat /etc/ssh/ssh_host_ed25519_key.pub)" >/home/you/.ssh/known_hosts
chown -R you: /home/you
systemd-run --quiet --unit=ssh-of-the-test --property=KillMode=process $(command -v sshd) -D`;

/** A folder with the Node.js that the laptop needs, for nobody else. */
const LAPTOP = '/home/you/node';

async function newcomer(t: Test, tree: string): Promise<Lab> {
  const lab = await createLab(t, { tree });
  const file = await makePackage(lab, VERSION);
  await succeed(lab, 'sh', '-c', SCRIPT);
  const [name = ''] = DOCUMENT.match(/build\/deb\/\S+\.deb/) ?? [];
  mkdirSync(lab.path('/home/you/knockd-nft/build/deb'), { recursive: true });
  cpSync(lab.path(file), lab.path(`/home/you/knockd-nft/${name}`));
  mkdirSync(lab.path(LAPTOP));
  writeFileSync(lab.path(`${LAPTOP}/npm`), '#!/bin/sh\n# made already\n', { mode: 0o755 });
  copyFileSync(process.execPath, lab.path(`${LAPTOP}/node`));
  return lab;
}

function openLaptop(t: Test, lab: Lab, folder: string): Promise<Terminal> {
  const enter = `cd ${folder} && exec env PATH=${LAPTOP}:$PATH HOME=/home/you USER=you TERM=screen setpriv --reuid you --regid you --init-groups bash`;
  const command = lab.inside('ip', ['netns', 'exec', 'client', 'sh', '-c', enter]);
  return openTerminal(t, command, { columns: 160, rows: 100 });
}

/** The text of the last line that is not empty. */
async function lastLine(terminal: Terminal): Promise<string> {
  return (await terminal.screen()).filter(line => line !== '').at(-1) ?? '';
}

/** The shell, which reads keys, has handed the terminal over; it throws away what was typed before. */
async function readsLines(terminal: Terminal): Promise<void> {
  const tty = await terminal.tell('#{pane_tty}');
  await until(
    () => run(['stty', '--file', tty, '--all']),
    ({ stdout }) => / icanon/.test(stdout),
  );
}

/** A pattern for a text that may be broken into other lines, and has other numbers. */
function alike(text: string): RegExp {
  const words = text.trim().replace(/[^\w\s]/g, '\\$&');
  const numbers = words.replace(/\b[0-9a-f]{64}\b|\d+(\\\.\d+)*/g, it =>
    it.length < 64 ? '[\\d.]+' : '\\w{64}',
  );
  return new RegExp(numbers.replace(/\s+/g, '\\s+'));
}

/** From the package to a login into a hidden ssh. Needs tmux here; sshd, ssh, scp, ssh-keygen and useradd there. */
export async function typeGettingStarted(t: Test, tree = '/'): Promise<void> {
  t.ok(BLOCKS.length > 8, 'blocks in the document');
  const lab = await newcomer(t, tree);
  const first = await openLaptop(t, lab, '/home/you/knockd-nft');
  const second = await openLaptop(t, lab, '/home/you');

  /** The first terminal that shows this prompt. */
  async function at(prompt: string): Promise<Terminal> {
    const ask = () => Promise.all([lastLine(first), lastLine(second)]);
    const [shown] = await until(ask, lines => lines.includes(prompt), 60);
    return shown === prompt ? first : second;
  }

  const start = performance.now();
  for (const lines of BLOCKS) {
    let terminal = first;
    let typing = false; // into a file
    for (const line of lines) {
      const [, prompt, command] = line.match(PROMPT) ?? [];
      const [, question, answer] = line.match(QUESTION) ?? [];
      if (prompt !== undefined && command !== undefined) {
        terminal = await at(prompt);
        await terminal.type(command);
        await terminal.shows(alike(command));
        await terminal.press('Enter');
        typing = command.includes('cat >');
        if (typing) await readsLines(terminal);
      } else if (question !== undefined) {
        await terminal.shows(new RegExp(`^${question.replace(/\W/g, '\\$&')}$`, 'm'));
        if (answer) await terminal.type(answer);
        await terminal.press('Enter');
      } else if (typing) {
        const [secret = '?'] = (await first.screen()).join('\n').match(/(?<="secret": ")\w{64}/) ?? [];
        await terminal.type(line.replace(/\b[0-9a-f]{64}\b/, secret));
        await terminal.press('Enter');
      } else if (line !== '…') {
        await terminal.shows(alike(line));
        t.pass(line);
      }
    }
    if (typing) await terminal.press('C-d');
  }
  t.comment(`typed in ${((performance.now() - start) / 1000).toFixed(1)} s`);
}
