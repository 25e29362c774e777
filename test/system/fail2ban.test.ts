/** Beside fail2ban itself: doctor names a client that it bans, with the command that lifts the ban. */
import { writeFileSync } from 'node:fs';
import t from 'tap';
import type { Finding } from '../../src/doctor/finding.ts';
import { lacking } from '../kernel/process.ts';
import {
  CLIENT,
  eventually,
  installedLab,
  SERVER,
  ssh,
  sshKnocks,
  status,
  succeed,
  write,
} from './installed.ts';
import { missing } from './lab.ts';

const skip = missing() || lacking('fail2ban-server', 'fail2ban-client');

t.test('a banned client that is in is named, and let in again by the command', { skip }, async t => {
  const lab = await installedLab(t);
  await lab.server().listen(22);
  const patient = { ...ssh, openFor: '5m' };
  write(lab, { closed: 'reject', services: { ssh: patient } });
  await eventually(
    () => status(lab),
    ({ inSync, services }) => inSync === true && 'ssh' in services,
  );
  writeFileSync(lab.path('/var/log/auth.log'), '');
  writeFileSync(
    lab.path('/etc/fail2ban/jail.local'),
    '[sshd]\nenabled = true\nbackend = polling\nlogpath = /var/log/auth.log\nbanaction = nftables-multiport\n',
  );
  await succeed(lab, 'systemctl', 'start', 'fail2ban');
  await eventually(
    () => lab.run('fail2ban-client', ['status', 'sshd']),
    ({ status }) => status === 0,
  );
  await lab.client().knock(SERVER, sshKnocks);
  t.equal(await lab.client().connect(SERVER, 22, { from: CLIENT }), 'open');
  const findings = async () =>
    (JSON.parse((await lab.run('knockd-nft', ['doctor', '--json'])).stdout) as { findings: Finding[] })
      .findings;
  t.strictSame(await findings(), []);
  await succeed(lab, 'fail2ban-client', 'set', 'sshd', 'banip', CLIENT);
  t.not(
    await eventually(
      () => lab.client().connect(SERVER, 22, { from: CLIENT }),
      reach => reach !== 'open',
    ),
    'open',
  );
  const found = await findings();
  t.match(found, [{ id: 'client-kept-out', severity: 'broken', what: /set addr-set-sshd/ }]);
  await succeed(lab, 'sh', '-c', found[0]?.mend ?? 'false');
  t.equal(await lab.client().connect(SERVER, 22, { from: CLIENT }), 'open');
  t.strictSame(await findings(), []);
});
