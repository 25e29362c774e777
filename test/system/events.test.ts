/** Events for other programs, on a machine with the package. */
import { writeFileSync } from 'node:fs';
import t from 'tap';
import {
  CLIENT,
  CONFIG,
  eventually,
  follow,
  installedLab,
  property,
  SERVER,
  ssh,
  sshKnocks,
  succeed,
  text,
  write,
} from './installed.ts';
import { missing } from './lab.ts';

const SOCKET = '/run/knockd-nft/events';
const units = ['knockd-nft-wake', 'knockd-nft-mail'] as const;

/** A reader of the socket, as anybody would write one, up to the first opening. */
const reader = `const socket = require('node:net').connect('${SOCKET}');
socket.on('error', ({ code }) => console.log(code));
socket.on('data', data => { process.stdout.write(data); if (/opened/.test(data)) socket.destroy(); });`;

t.test('events for other programs, under systemd', { skip: missing() }, async t => {
  const lab = await installedLab(t);
  const client = lab.client();
  await lab.server().listen(22);
  write(lab, { services: { ssh } });
  await succeed(lab, 'systemctl', 'reload', 'knockd-nft');
  const as = (user: string, ...command: readonly string[]) => [
    `--reuid=${user}`,
    `--regid=${user}`,
    '--init-groups',
    ...command,
  ];
  for (const user of ['reader', 'stranger']) await succeed(lab, 'useradd', '--system', user);
  await succeed(lab, 'usermod', '-aG', 'knockd-nft', 'reader');

  await t.test('the socket is of root and the group, who may read and nobody else', async t => {
    const rights = () => succeed(lab, 'stat', '-c', '%F %U:%G %a', SOCKET);
    t.equal(await rights(), 'socket root:knockd-nft 660\n');
    const member = lab.start('setpriv', as('reader', 'node', '-e', reader));
    t.match(JSON.parse(await member.line(/"event":"snapshot"/)), {
      file: '/etc/knockd-nft.json',
      table: 'knockd',
      services: ['ssh'],
    });
    await client.knock(SERVER, sshKnocks);
    t.match(JSON.parse(await member.line(/"event":"opened"/)), { service: 'ssh', client: CLIENT });
    t.equal((await member.ended).status, 0);
    const other = await lab.run('setpriv', as('stranger', 'node', '-e', reader));
    t.equal(text(other), 'EACCES\n');
    await succeed(lab, 'systemctl', 'restart', 'knockd-nft');
    t.equal(await rights(), 'socket root:knockd-nft 660\n', 'also after a restart');
    t.match(await property(lab, 'StatusText'), /is in force$/);
  });

  await t.test('the samples start a program for each opening, without root', async t => {
    write(lab, { services: { ssh, nas: { ports: [], sequence: [7001, 8002, 9003] } } });
    await succeed(lab, 'systemctl', 'reload', 'knockd-nft');
    const programs = {
      '/usr/bin/wakeonlan': 'echo "$(id -un) wakes $1 for $KNOCKD_NFT_CLIENT"; exit 7',
      '/usr/bin/mail': 'echo "mail to $3: $2: $(cat), queued by $(/usr/sbin/postdrop -gn)"',
    };
    for (const [path, text] of Object.entries(programs))
      writeFileSync(lab.path(path), `#!/bin/sh\n${text}\n`, { mode: 0o755 });
    // as Postfix has it: the queue is of a group, and this program runs as that group
    const queue = 'groupadd postdrop && install -m 2755 -g postdrop "$(command -v id)" /usr/sbin/postdrop';
    await succeed(lab, 'sh', '-c', queue);
    const examples = '/usr/share/doc/knockd-nft/docs/examples';
    for (const unit of units) await succeed(lab, 'cp', `${examples}/${unit}.service`, '/etc/systemd/system');
    await succeed(lab, 'systemctl', 'daemon-reload');
    const [wake, mail] = await Promise.all(units.map(unit => follow(lab, unit)));
    await succeed(lab, 'systemctl', 'start', ...units);
    await Promise.all([wake, mail].map(it => it?.line(/^waiting for "opened"/)));
    await client.knock(SERVER, ['7001/tcp', '8002/tcp', '9003/tcp']);
    t.match(await wake?.line(/ wakes /), `knockd-nft-wake wakes 00:00:5e:00:53:01 for ${CLIENT}`);
    t.match(
      await wake?.line(/exit status/),
      `"/usr/bin/wakeonlan" ended with exit status 7, for: opened nas`,
    );
    const mailed = await mail?.line(/^mail /);
    t.match(mailed, `mail to root: opened nas for ${CLIENT}: {"level":30`);
    t.match(mailed, /queued by postdrop$/);
    await succeed(lab, 'systemctl', 'restart', 'knockd-nft');
    await mail?.line(/^waiting for "opened"/);
  });

  await t.test('none of it has a socket of a network, nor sees packets: the kernel does', async t => {
    const web = { ports: [8443], tokens: { alice: 'a1'.repeat(32) } };
    write(lab, { services: { ssh, web }, metrics: true, log: { refused: true } });
    await succeed(lab, 'systemctl', 'reload', 'knockd-nft');
    await succeed(lab, 'systemctl', 'start', 'knockd-nft-tokens');
    const watch = lab.start('knockd-nft', ['watch', '--json']);
    await watch.line(/./);
    write(lab, { services: { ssh, web }, policy: 'drop' }, `${CONFIG}.new`);
    const trial = lab.start('knockd-nft', ['try', `${CONFIG}.new`, '--for', '10m']);
    await trial.line(/It is undone at/);
    const { stdout: running } = await lab.run('systemctl', ['is-active', 'knockd-nft', ...units]);
    t.equal(running, 'active\nactive\nactive\n', 'supervisor and samples run');
    const sockets = (await succeed(lab, 'ss', '--no-header', '--all', '--numeric', '-A', 'inet')).trim();
    t.match(sockets, /^tcp +LISTEN .*:22 .*$/, 'only the service itself, which is of this test');
    t.equal(sockets.split('\n').length, 1, sockets);
    const [, ...packets] = (await succeed(lab, 'cat', '/proc/net/packet')).trim().split('\n');
    t.same(packets, []);
    await succeed(lab, 'knockd-nft', 'undo');
    await trial.ended;
    await watch.stop();
    await succeed(lab, 'systemctl', 'stop', ...units);
  });

  await t.test('metrics are a file that others may read, and a monitor hears how things are', async t => {
    write(lab, { services: { ssh }, metrics: true });
    await succeed(lab, 'systemctl', 'reload', 'knockd-nft');
    const file = '/run/knockd-nft/metrics.prom';
    const shown = await eventually(
      () => lab.run('setpriv', as('stranger', 'cat', file)),
      ({ stdout }) => stdout.includes('in_sync 1'), // the first one may be from the middle of a load
    );
    t.match(shown.stdout, '\nknockd_nft_in_sync 1\n');
    t.match(await succeed(lab, 'knockd-nft', 'metrics'), '\nknockd_nft_supervisor_up 1\n');
    t.match(await succeed(lab, 'knockd-nft', 'status', '--check'), /^OK: 1 service guarded, \d in \| in=\d /);
    await succeed(lab, 'systemctl', 'stop', 'knockd-nft');
    t.not((await lab.run('cat', [file])).status, 0, 'it goes with its supervisor');
  });
});
