/** What `doctor` says of a machine with systemd, and that what it says to do helps. */
import { writeFileSync } from 'node:fs';
import t from 'tap';
import type { Finding } from '../../src/doctor/finding.ts';
import { CONFIG, eventually, follow, installedLab, ssh, status, succeed, write } from './installed.ts';
import { type Lab, missing } from './lab.ts';

async function findings(lab: Lab): Promise<Finding[]> {
  const { stdout, stderr } = await lab.run('knockd-nft', ['doctor', '--json']);
  if (stdout === '') throw new Error(stderr);
  return (JSON.parse(stdout) as { findings: Finding[] }).findings;
}

const ids = async (lab: Lab) => (await findings(lab)).map(({ id }) => id);

/** Debian's, as nftables.conf comes with the package. */
const NFTABLES = `#!/usr/sbin/nft -f

flush ruleset

table inet filter {
	chain input {
		type filter hook input priority filter;
	}
}
`;

t.test('doctor under systemd', { skip: missing() }, async t => {
  const lab = await installedLab(t);
  await lab.server().listen(22);
  write(lab, { closed: 'reject', services: { ssh } });
  await eventually(
    () => status(lab),
    ({ inSync, services }) => inSync === true && 'ssh' in services,
  );
  const journal = await follow(lab);

  /** Something goes wrong, is found, and the command mends it. */
  const mended = async (wanted: Partial<Finding>, ...trouble: readonly string[]) => {
    const [command = '', ...args] = trouble;
    await succeed(lab, command, ...args);
    const found = await findings(lab);
    t.match(found, [wanted], trouble.join(' '));
    for (const { mend } of found) await succeed(lab, 'sh', '-c', mend);
    t.strictSame(
      await eventually(
        () => ids(lab),
        found => found.length === 0,
      ),
      [],
      found[0]?.mend ?? '',
    );
  };

  t.strictSame(await ids(lab), [], 'all is well after the installation');
  await mended({ id: 'not-at-boot', severity: 'risk' }, 'systemctl', '--quiet', 'disable', 'knockd-nft-load');
  await mended({ id: 'no-supervisor', severity: 'note' }, 'systemctl', 'stop', 'knockd-nft');
  await mended({ id: 'file-readable', severity: 'risk' }, 'chmod', '644', CONFIG);

  await succeed(lab, 'systemctl', 'stop', 'knockd-nft-load');
  const stopped = await findings(lab);
  t.match(stopped, [{ id: 'not-loaded', severity: 'broken' }, { id: 'no-supervisor' }]);
  await succeed(lab, 'sh', '-c', stopped[0]?.mend ?? '');
  t.strictSame(
    await eventually(
      () => ids(lab),
      found => found.length === 0,
    ),
    [],
    'both are mended by the first',
  );

  await succeed(lab, 'knockd-nft', 'unload', '--force');
  const held = (await findings(lab)).find(({ id }) => id === 'held');
  await succeed(lab, 'sh', '-c', held?.mend ?? '');
  t.strictSame(
    await eventually(
      () => ids(lab),
      found => found.length === 0,
    ),
    [],
    held?.mend ?? '',
  );

  // enabled, as `systemctl enable nftables` would; the unit itself is masked in the lab
  writeFileSync(lab.path('/etc/nftables.conf'), NFTABLES);
  writeFileSync(lab.path('/etc/systemd/system/sysinit.target.wants/nftables.service'), '');
  const reload = () => succeed(lab, 'nft', '-f', '/etc/nftables.conf');
  const [flush] = await findings(lab);
  t.match(flush, { id: 'flush-ruleset', severity: 'note' });
  await reload();
  await journal.line(/^restored .*event=restored/);
  await succeed(lab, 'sh', '-c', flush?.mend ?? '');
  t.strictSame(await ids(lab), []);
  const table = await succeed(lab, 'nft', '-a', 'list', 'table', 'inet', 'knockd');
  await reload();
  await reload();
  t.equal(await succeed(lab, 'nft', '-a', 'list', 'table', 'inet', 'knockd'), table, 'our table stays');
  t.equal(
    (await succeed(lab, 'nft', 'list', 'ruleset')).split('hook input').length,
    3,
    'theirs is there once',
  );
});
