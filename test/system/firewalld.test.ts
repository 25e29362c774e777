/** Beside firewalld itself: what `init` writes and `doctor` advises makes a guarded port look like its neighbours. */
import t from 'tap';
import type { Finding } from '../../src/doctor/finding.ts';
import { written } from '../doctor/patient.ts';
import { lacking } from '../kernel/process.ts';
import { CONFIG, eventually, installedLab, own, SERVER, ssh, status, succeed, write } from './installed.ts';
import { type Lab, missing } from './lab.ts';

const skip = missing() || lacking('firewalld', 'firewall-cmd');

async function findings(lab: Lab): Promise<readonly Finding[]> {
  const { stdout } = await lab.run('knockd-nft', ['doctor', '--json']);
  return (JSON.parse(stdout) as { findings: Finding[] }).findings;
}

t.test("beside firewalld's default zone a guarded port answers as its neighbours do", { skip }, async t => {
  const lab = await installedLab(t);
  await succeed(lab, 'systemctl', 'start', 'firewalld');
  await succeed(lab, 'firewall-cmd', '--state'); // answers when its rules stand
  t.match(
    await succeed(lab, 'nft', 'list', 'chain', 'inet', 'firewalld', 'filter_INPUT'),
    'admin-prohibited',
  );
  await lab.server().listen(22);
  await succeed(lab, 'sysctl', '-w', 'net.ipv4.icmp_ratelimit=0'); // each probe is answered
  const looks = () =>
    Promise.all([20, 22, 24].map(port => lab.client().probe({ protocol: 'tcp', to: SERVER, port })));
  const inForce = (closed: string) =>
    eventually(
      async () => (await lab.run('nft', ['list', 'chain', 'inet', 'knockd', 'guard_ssh'])).stdout,
      text => text.includes(`closed_${closed}`),
    );

  for (const closed of ['drop', 'reject']) {
    write(lab, { closed, services: { ssh } });
    await inForce(closed);
    t.equal(new Set(await looks()).size, 2, `${closed} stands out`);
    const found = (await findings(lab)).filter(({ id }) => id === 'stands-out');
    t.match(found, [{ severity: 'risk', mend: `"closed": "prohibited"  in services.ssh in ${CONFIG}` }]);
    for (const finding of found) {
      const mended = written(finding, () => JSON.stringify({ closed, services: { ssh } }));
      write(lab, mended?.config ?? {});
    }
    await inForce('prohibited');
    t.strictSame(await looks(), Array(3).fill('icmp-admin-prohibited'));
    t.strictSame(await findings(lab), [], 'doctor is content');
  }

  const table = () => succeed(lab, 'nft', '-a', 'list', 'chain', 'inet', 'knockd', 'input');
  const before = await table();
  await succeed(lab, 'firewall-cmd', '--reload');
  await succeed(lab, 'firewall-cmd', '--complete-reload');
  await succeed(lab, 'systemctl', 'restart', 'firewalld');
  await succeed(lab, 'firewall-cmd', '--state');
  t.equal(await table(), before, 'what firewalld does to its own rules leaves ours as they are');

  // an administrator who begins now
  await succeed(lab, 'knockd-nft', 'init', '--yes', '--force');
  await succeed(lab, 'cp', `${CONFIG}.new`, CONFIG);
  own(lab, CONFIG);
  await eventually(
    () => status(lab),
    ({ inSync }) => inSync === true,
  );
  t.strictSame(await looks(), Array(3).fill('icmp-admin-prohibited'));
  t.strictSame(await findings(lab), [], 'a fresh configuration is not nagged about');
});
