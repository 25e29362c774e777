/** The life of a package on a machine that has neither Node.js nor anything else of ours. */
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import type { Test } from 'tap';
import {
  addStranger,
  CLIENT,
  CONFIG,
  property,
  SERVER,
  STRANGER,
  ssh,
  sshKnocks,
  status,
  succeed,
  write,
} from '../system/installed.ts';
import { createLab, type Lab } from '../system/lab.ts';

export interface Manager {
  /** Makes the older and the newer package and puts them into the lab: their paths there. */
  readonly provide: (lab: Lab) => Promise<readonly [older: string, newer: string]>;
  /** Of a package; each returns what was said. */
  readonly install: (lab: Lab, file: string) => Promise<string>;
  readonly upgrade: (lab: Lab, file: string) => Promise<string>;
  /** The older one has no timer for tokens. */
  readonly isWithoutTimer?: boolean;
  /** Undefined if the older one cannot run any more. */
  readonly downgrade?: (lab: Lab, file: string) => Promise<string>;
  readonly remove: (lab: Lab) => Promise<string>;
  /** Also what it knows. */
  readonly purge: (lab: Lab) => Promise<string>;
}

const UNITS = ['knockd-nft-load.service', 'knockd-nft.service', 'knockd-nft-tokens.timer'];

/** All that is of ours; the user may stay. */
async function ours(lab: Lab): Promise<string> {
  const named = 'find / -xdev ( -path /proc -o -path /sys ) -prune -o -iname *knockd-nft* -print'.split(' ');
  const [command = '', ...words] = named;
  const files = await succeed(lab, command, ...words);
  const { stdout } = await lab.run('grep', ['-rlE', 'knockd-nft', '/etc']);
  const users = /^\/etc\/g?(passwd|group|shadow)-?$/;
  return (
    files +
    stdout
      .split('\n')
      .filter(path => path !== '' && !users.test(path))
      .join('\n')
  );
}

export async function testLife(
  t: Test,
  tree: string,
  { provide, isWithoutTimer = false, install, upgrade, downgrade, remove, purge }: Manager,
) {
  const lab = await createLab(t, { tree });
  await addStranger(lab);
  const client = lab.client();
  await lab.server().listen(22);
  const states = (what: string) => Promise.all(UNITS.map(unit => property(lab, what, unit)));
  // a connection that must succeed may take its time, but not a second SYN, which comes after a second
  const reach = (from: string) => client.connect(SERVER, 22, { from, timeout: from === CLIENT ? 900 : 200 });

  t.equal(await ours(lab), '', 'there is nothing of ours');
  const [older, newer] = await provide(lab);
  t.not((await lab.run('sh', ['-c', 'command -v node'])).status, 0, 'and no Node.js');

  await t.test('installed, it runs, guards nothing yet, and says what to do next', async t => {
    t.match(await install(lab, older), /To hide ssh: sudo knockd-nft init/);
    t.same(await states('ActiveState'), ['active', 'active', isWithoutTimer ? 'inactive' : 'active']);
    t.same(await states('UnitFileState'), ['enabled', 'enabled', isWithoutTimer ? '' : 'enabled']);
    t.match(await status(lab), { loaded: true, inSync: true, services: {} });
    t.equal((await succeed(lab, 'stat', '-c', '%a %U:%G', CONFIG)).trim(), '640 root:knockd-nft');
    t.match(readFileSync(lab.path(CONFIG), 'utf8'), /\/\/"sequence": \[\d{4,5}, \d{4,5}, \d{4,5}, \d{4,5}\]/);
    const security = await succeed(lab, 'systemd-analyze', 'security', '--no-pager', 'knockd-nft.service');
    t.ok(Number(security.match(/exposure level for .*: ([\d.]+)/)?.[1]) <= 1.5, 'little is exposed');
  });

  await t.test('an upgrade keeps clients in, the others out, the file, and the enabled units', async t => {
    write(lab, { services: { ssh: { ...ssh, openFor: '10m' } } });
    await succeed(lab, 'knockd-nft', 'load');
    if (!isWithoutTimer) await succeed(lab, 'systemctl', 'disable', '--now', 'knockd-nft-tokens.timer');
    await client.knock(SERVER, sshKnocks);
    const session = await client.open(SERVER, 22);
    const [pid, file] = [await property(lab, 'MainPID'), readFileSync(lab.path(CONFIG), 'utf8')];
    const seen = { client: new Set<string>(), stranger: new Set<string>() };
    let upgraded = false;
    const upgrading = upgrade(lab, newer).finally(() => {
      upgraded = true;
    });
    while (!upgraded) {
      seen.client.add(await reach(CLIENT));
      seen.stranger.add(await reach(STRANGER));
    }
    const said = await upgrading;
    t.match(said, /knockd-nft: OK: 1 service guarded/);
    t.notMatch(said, /not starting/);
    t.same([...seen.client], ['open']);
    t.same([...seen.stranger], ['silent']);
    t.equal(await session.send('still here'), 'alive');
    t.match((await status(lab)).services.ssh?.clients, [{ address: CLIENT }]);
    t.equal(readFileSync(lab.path(CONFIG), 'utf8'), file);
    t.not(await property(lab, 'MainPID'), pid, 'the supervisor is the new one');
    const runtime = await succeed(lab, 'readlink', `/proc/${await property(lab, 'MainPID')}/exe`);
    t.equal(runtime, '/usr/lib/knockd-nft/bin/node\n', 'with the Node.js of the package');
    t.same(await states('UnitFileState'), ['enabled', 'enabled', isWithoutTimer ? 'enabled' : 'disabled']);
    t.same(await states('ActiveState'), ['active', 'active', isWithoutTimer ? 'active' : 'inactive']);
    await succeed(lab, 'systemctl', 'stop', 'knockd-nft-load');
    t.equal(await reach(STRANGER), 'open', 'stopped, the loader unloads');
    await succeed(lab, 'systemctl', 'start', 'knockd-nft-load', 'knockd-nft');
    t.equal(await reach(STRANGER), 'silent');
  });

  if (downgrade)
    await t.test('so does a downgrade', async t => {
      await client.knock(SERVER, sshKnocks);
      const session = await client.open(SERVER, 22);
      t.match(await downgrade(lab, older), /knockd-nft: OK: 1 service guarded/);
      t.same([await reach(CLIENT), await reach(STRANGER)], ['open', 'silent']);
      t.equal(await session.send('still here'), 'alive');
      t.same((await states('ActiveState')).slice(0, 2), ['active', 'active']);
      await upgrade(lab, newer);
    });

  await t.test('after a reboot it guards', async t => {
    await lab.reboot();
    await addStranger(lab);
    await lab.server().listen(22);
    t.same((await states('ActiveState')).slice(0, 2), ['active', 'active']);
    t.equal(await lab.client().connect(SERVER, 22, { from: STRANGER, timeout: 200 }), 'silent');
  });

  await t.test('removed, nothing is guarded, which it says; the file stays', async t => {
    t.match(await remove(lab), 'nothing is guarded any more');
    t.equal(await lab.client().connect(SERVER, 22, { from: STRANGER }), 'open');
    t.notMatch(await succeed(lab, 'nft', 'list', 'ruleset'), 'knockd');
    t.ok(existsSync(lab.path(CONFIG)));
    for (const path of ['/usr/lib/knockd-nft', '/usr/bin/knockd-nft', '/run/knockd-nft'])
      t.notOk(existsSync(lab.path(path)), path);
  });

  await t.test('purged, nothing is left', async t => {
    for (const name of ['.new', '.bak', '.0123456789ab']) writeFileSync(lab.path(`${CONFIG}${name}`), '{}');
    await purge(lab);
    await succeed(lab, 'rm', '-rf', older, newer);
    t.equal(await ours(lab), '');
  });
}
