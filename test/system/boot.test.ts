/** A machine that restarts is guarded from before it has a network, whatever became of the file. */
import { mkdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import t, { type Test } from 'tap';
import type { Status } from '../../src/ruleset/status.ts';
import {
  CLIENT,
  CONFIG,
  eventually,
  follow,
  installedLab,
  own,
  property,
  SERVER,
  ssh,
  sshKnocks,
  succeed,
  write,
} from './installed.ts';
import { type Lab, missing } from './lab.ts';

const SEEN = '/var/cache/knockd-nft-seen';
const LAST_GOOD = '/var/lib/knockd-nft/last-good.json';

/** A witness: what is in the kernel when the first that comes after network-pre.target starts. */
function placeWitness(lab: Lab): void {
  const unit = `[Unit]
DefaultDependencies=no
Wants=network-pre.target
After=network-pre.target
Before=network.target
[Service]
Type=oneshot
ExecStart=-/bin/sh -c 'rm -f ${SEEN}; /usr/bin/knockd-nft status --json >${SEEN}'
`;
  writeFileSync(lab.path('/etc/systemd/system/witness.service'), unit);
  const wants = lab.path('/etc/systemd/system/sysinit.target.wants');
  mkdirSync(wants, { recursive: true });
  symlinkSync('/etc/systemd/system/witness.service', `${wants}/witness.service`);
}

async function guardedBeforeTheNetwork(t: Test, lab: Lab): Promise<void> {
  const seen = JSON.parse(readFileSync(lab.path(SEEN), 'utf8')) as Status;
  t.match(seen, { loaded: true, services: { ssh: { ports: ['22/tcp'] } } }, 'seen after network-pre.target');
  const loaded = Number(await property(lab, 'ExecMainExitTimestampMonotonic', 'knockd-nft-load.service'));
  const network = Number(await property(lab, 'ActiveEnterTimestampMonotonic', 'network-pre.target'));
  t.ok(loaded > 0 && loaded <= network, `loaded ${(network - loaded) / 1000} ms before network-pre.target`);
}

async function guards(t: Test, lab: Lab): Promise<void> {
  await lab.server().listen(22);
  t.equal(await lab.client().connect(SERVER, 22), 'silent');
  await lab.client().knock(SERVER, sshKnocks);
  t.equal(await lab.client().connect(SERVER, 22), 'open');
}

t.test('a machine that restarts', { skip: missing() }, async t => {
  const lab = await installedLab(t);
  placeWitness(lab);
  write(lab, { services: { ssh } });
  await succeed(lab, 'systemctl', 'reload', 'knockd-nft');
  await eventually(
    async () => readFileSync(lab.path(LAST_GOOD), 'utf8'),
    kept => kept === readFileSync(lab.path(CONFIG), 'utf8'),
  );

  await t.test('is guarded before it has a network', async t => {
    await lab.reboot();
    await guardedBeforeTheNetwork(t, lab);
    t.equal(await property(lab, 'ActiveState'), 'active');
    const loader = await succeed(lab, 'journalctl', '-u', 'knockd-nft-load', '-o', 'cat');
    t.match(loader, /^loaded: table inet knockd guards 1 service /m);
    const supervisor = await succeed(lab, 'journalctl', '-u', 'knockd-nft', '-o', 'cat');
    t.match(supervisor, /^unchanged table inet knockd.*event=unchanged$/m);
    const journal = await follow(lab);
    await guards(t, lab);
    t.ok(await journal.line(new RegExp(`^opened ssh for ${CLIENT} .*event=opened$`)));
  });

  await t.test('is guarded by the last good file if the file is not valid', async t => {
    writeFileSync(lab.path(CONFIG), '{ "services": {');
    own(lab, CONFIG);
    await lab.reboot();
    await guardedBeforeTheNetwork(t, lab);
    await guards(t, lab);
    const loader = await succeed(lab, 'journalctl', '-u', 'knockd-nft-load', '-o', 'cat');
    t.match(loader, /knockd-nft\.json:1:\d+: /);
    t.match(loader, /last good/i);
    t.match(await property(lab, 'StatusText'), /NOT in force/);
  });

  await t.test('without a good file: says so, and guards as soon as there is one', async t => {
    rmSync(lab.path(LAST_GOOD));
    await lab.reboot();
    t.equal(await property(lab, 'ActiveState', 'knockd-nft-load.service'), 'failed');
    t.equal(await property(lab, 'ActiveState'), 'active', 'the supervisor runs all the same');
    write(lab, { services: { ssh } });
    await eventually(
      () => property(lab, 'StatusText'),
      text => text.includes('is in force'),
    );
    await guards(t, lab);
  });
});
