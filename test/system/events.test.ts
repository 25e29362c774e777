/** Events for other programs, on a machine with the package. */
import t from 'tap';
import { CLIENT, installedLab, property, SERVER, ssh, sshKnocks, succeed, text, write } from './installed.ts';
import { missing } from './lab.ts';

const SOCKET = '/run/knockd-nft/events';

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
});
