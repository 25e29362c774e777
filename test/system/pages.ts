/** Types the pages of docs/living-with, on a server beside the real programs. */
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname } from 'node:path';
import type { Test } from 'tap';
import { lacking, type Result } from '../kernel/process.ts';
import {
  CONFIG,
  eventually,
  installedLab,
  SERVER,
  STRANGER,
  ssh,
  succeed,
  text,
  write,
} from './installed.ts';
import { type Lab, missing } from './lab.ts';

export const FOLDER = 'docs/living-with';

/** A step of a page: a line to type, its host, and its output; or a file, written as it stands there. */
type Step = Line | { readonly path: string; readonly content: string };

interface Line {
  readonly at: 'server' | 'client';
  readonly command: string;
  readonly shown: readonly string[];
}

/** In the order of the page. A block whose first line is a comment with a path is a file. */
function stepsOf(page: string): Step[] {
  const steps: Step[] = [];
  const blocks = readFileSync(`${FOLDER}/${page}.md`, 'utf8').matchAll(
    /^```\w*\n([\s\S]*?)^```$|^ {4}(.*)$/gm,
  );
  for (const [, fenced, line = ''] of blocks) {
    const [, path] = fenced?.match(/^(?:#|\/\/|\{#) ([~/][^\s,]+)/) ?? [];
    const [, at, command] = line.match(/^(server|client)\$ (.*)$/) ?? [];
    const last = steps.at(-1);
    if (fenced !== undefined && path !== undefined)
      steps.push({ path: path.replace('~', '/root'), content: fenced });
    else if (at !== undefined && command !== undefined)
      steps.push({ at: at === 'server' ? 'server' : 'client', command, shown: [] });
    else if (fenced === undefined && last && 'shown' in last)
      steps[steps.length - 1] = { ...last, shown: [...last.shown, line] };
  }
  return steps;
}

/** A pattern for lines of which any may be left out where `…` stands, with other numbers and spaces. */
function alike(lines: readonly string[]): RegExp {
  const words = (line: string) =>
    line
      .trim()
      .split(/\s+/)
      .map(word =>
        word
          .replace(/[^\w\s…]/g, '\\$&')
          .replace(/\b\d+\b/g, '\\d+')
          .replace('…', '.*'),
      )
      .join('\\s+');
  const parts = lines.map(line => (line.trim() === '…' ? '[\\s\\S]*?' : `\\s*${words(line)}\\s*?\\n`));
  return new RegExp(`^${parts.join('')}\\s*$`);
}

/** A server with sshd, and a client whose ssh knocks. `sudo` runs what follows it. */
const SCRIPT = `set -e
hostname server
echo '10.77.0.1 server' >>/etc/hosts
printf '%s\\n' 'AuthorizedKeysFile .ssh/authorized_keys' 'UsePAM no' 'UseDNS no' 'PermitRootLogin yes' \\
  'Subsystem sftp internal-sftp' >/etc/ssh/sshd_config
rm -rf /etc/ssh/sshd_config.d
ssh-keygen -A
mkdir -p /run/sshd /root/.ssh /root/.config/knockd-nft /root/backup
ssh-keygen -q -t ed25519 -N '' -f /root/.ssh/id_ed25519
cp /root/.ssh/id_ed25519.pub /root/.ssh/authorized_keys
echo "server,10.77.0.1,10.9.0.1 $(cat /etc/ssh/ssh_host_ed25519_key.pub)" >/root/.ssh/known_hosts
usermod --password '*' root
systemd-run --quiet --unit=ssh-of-the-test --property=KillMode=process $(command -v sshd) -D
cat >/usr/local/bin/sudo <<'END'
#!/bin/sh
while case $1 in -u) shift ;; -*) ;; *) false ;; esac do shift; done
exec "$@"
END
chmod 755 /usr/local/bin/sudo
umask 077
echo '{ "server": { "knocks": [10000, 2345, 3456, 1234], "port": 22 } }' >/root/.config/knockd-nft/hosts.json`;

const SSH_CONFIG = '/root/.ssh/config';

/** The configuration of the pages, in force, and nobody in. */
async function begin(lab: Lab): Promise<void> {
  writeFileSync(lab.path(SSH_CONFIG), 'Host server\n  ProxyCommand knockd-nft proxy %h %p\n');
  await save(lab, { services: { ssh } });
  await succeed(lab, 'knockd-nft', 'revoke', '--all');
}

async function save(lab: Lab, config: object | string): Promise<void> {
  write(lab, config);
  await succeed(lab, 'systemctl', 'reload', 'knockd-nft');
  await eventually(
    () => lab.run('knockd-nft', ['diff']),
    ({ status }) => status === 0,
  );
}

/** One page, from the configuration of all of them. */
async function typePage(t: Test, lab: Lab, page: string): Promise<void> {
  for (const step of stepsOf(page)) {
    if ('path' in step && step.path === CONFIG) await save(lab, step.content);
    else if ('path' in step) {
      mkdirSync(dirname(lab.path(step.path)), { recursive: true });
      writeFileSync(lab.path(step.path), step.content);
    } else {
      const wanted = (result: Result) =>
        step.shown.length === 0 ? result.status === 0 : alike(step.shown).test(text(result));
      // what only looks may be typed again, until the supervisor is done
      const ask = () => typed(lab, step);
      const result = /knockd-nft (status|doctor|diff)/.test(step.command)
        ? await eventually(ask, wanted)
        : await ask();
      t.ok(wanted(result), `${step.command}`, { shown: text(result), wanted: step.shown });
    }
  }
}

function typed(lab: Lab, { at, command }: Line): Promise<Result> {
  const shell = `cd; export TERM=xterm; ${command}`;
  const there = at === 'client' ? ['ip', 'netns', 'exec', 'client'] : [];
  // mosh wants a terminal that has a size
  const words = command.startsWith('mosh')
    ? ['script', '--quiet', '--return', '--command', `stty rows 24 cols 80; ${shell}`, '/dev/null']
    : ['sh', '-c', shell];
  const [program = '', ...args] = [...there, ...words];
  return lab.run(program, args);
}

/** A page that is typed: what it needs, what there is before and what has to go after it. */
export interface Page {
  readonly programs?: readonly string[];
  readonly before?: string;
  readonly after?: string;
  /** It opens nothing: a stranger, who tries all the time, never gets in. */
  readonly shut?: boolean;
}

export const skip = missing() || lacking('sshd', 'ssh', 'ssh-keygen');

/** The lines of the pages show the output that stands there; one machine for all of them, in their order. */
export async function typePages(t: Test, pages: Readonly<Record<string, Page>>): Promise<void> {
  const lab = await installedLab(t);
  await succeed(lab, 'sh', '-c', SCRIPT);
  for (const [name, { programs = [], before, after, shut }] of Object.entries(pages))
    await t.test(name, { skip: lacking(...programs) }, async t => {
      if (before) await succeed(lab, 'sh', '-ec', before);
      await begin(lab);
      const stranger = shut && watch(lab);
      await typePage(t, lab, name);
      if (stranger) t.strictSame(await stranger.end(), [], 'a stranger never got in');
      if (after) await lab.run('sh', ['-c', after]);
    });
}

/** A stranger who tries to connect, one time after the other. */
function watch(lab: Lab): { end(): Promise<string[]> } {
  let over = false;
  const tries = (async () => {
    const open: string[] = [];
    while (!over) {
      const reach = await lab.client().connect(SERVER, 22, { from: STRANGER });
      if (reach === 'open') open.push(new Date().toISOString());
    }
    return open;
  })();
  return {
    end() {
      over = true;
      return tries;
    },
  };
}
