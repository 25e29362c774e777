/** `try` where systemd runs: a timer of its undoes what is not confirmed, also when the whole login is ended. */
import { existsSync, readFileSync, rmSync } from 'node:fs';
import t, { type Test } from 'tap';
import {
  CLIENT,
  CONFIG,
  eventually,
  follow,
  installedLab,
  own,
  SERVER,
  ssh,
  sshKnocks,
  status,
  succeed,
  write,
} from './installed.ts';
import { type Lab, missing } from './lab.ts';

const CANDIDATE = `${CONFIG}.new`;
const lockout = { services: { ssh: { ...ssh, sequence: [11000, 2345, 3456, 1234] } }, policy: 'drop' };
const before = { services: { ssh }, allow: [CLIENT] };

const reach = (lab: Lab) => lab.client().connect(SERVER, 22);
/** Without connections that were running when the port was guarded again: there may be one. */
const rules = async (lab: Lab) =>
  (await succeed(lab, 'nft', '--stateless', 'list', 'ruleset'))
    .split('\n')
    .filter(line => !/elements = \{ 10\.77\.0\.\d \. \d+ \. 22/.test(line))
    .sort()
    .join('\n');
const timers = async (lab: Lab) =>
  (await lab.run('systemctl', ['list-timers', '--all', '--plain', '--no-legend', 'knockd-nft-undo-*']))
    .stdout;

/** How often an undo told the journal, in a unit that does not stay. */
async function undone(lab: Lab): Promise<number> {
  const text = await succeed(lab, 'journalctl', '--identifier=knockd-nft', '--output=cat');
  return text.match(/^undone: the former rules are back/gm)?.length ?? 0;
}

/** A login as systemd-logind knows it: all its processes are one unit, and end with it. */
async function tryIn(lab: Lab, unit: string, ...words: readonly string[]): Promise<void> {
  await lab.run('systemctl', ['stop', unit]); // the one before may not have seen yet that its trial is over
  const options = [
    '--quiet',
    '--collect',
    `--unit=${unit}`,
    '--property=SendSIGKILL=yes',
    '--property=KillSignal=SIGKILL',
  ];
  await succeed(lab, 'systemd-run', ...options, 'knockd-nft', 'try', ...words);
}

async function locksOut(t: Test, lab: Lab): Promise<void> {
  t.equal(
    await eventually(
      () => reach(lab),
      answer => answer === 'silent',
    ),
    'silent',
    'locked out',
  );
}

/** A trial of {@link lockout}. The client may have been out before. */
async function tryLockout(t: Test, lab: Lab, ...words: readonly string[]): Promise<void> {
  await tryIn(lab, 'login', ...words);
  await eventually(
    () => rules(lab),
    text => text.includes('policy drop'),
  );
  await locksOut(t, lab);
}

t.test('try under a real systemd', { skip: missing() }, async t => {
  const lab = await installedLab(t);
  write(lab, before);
  await succeed(lab, 'systemctl', 'reload', 'knockd-nft');
  await lab.server().listen(22);
  await eventually(
    () => reach(lab),
    answer => answer === 'open',
  );
  const was = await rules(lab);

  await t.test('the watched file itself is not tried', async t => {
    const { status, stderr } = await lab.run('knockd-nft', ['try']);
    t.equal(status, 64);
    t.match(stderr, /cp -p \/etc\/knockd-nft\.json \/etc\/knockd-nft\.json\.new, and then knockd-nft try/);
  });

  for (const supervisor of [true, false])
    await t.test(`a login that is killed ${supervisor ? 'with' : 'without'} a supervisor`, async t => {
      if (!supervisor) await succeed(lab, 'systemctl', 'stop', 'knockd-nft');
      write(lab, lockout, CANDIDATE);
      await tryIn(lab, 'login', CANDIDATE, '--for', '4s');
      await locksOut(t, lab);
      t.match(await timers(lab), /knockd-nft-undo-\w+\.timer/);
      await succeed(lab, 'systemctl', 'stop', 'login');
      t.equal(
        await eventually(
          () => reach(lab),
          answer => answer === 'open',
        ),
        'open',
        'and in again',
      );
      t.equal(
        await eventually(
          () => rules(lab),
          now => now === was,
        ),
        was,
        'the rules that were',
      );
      const times = supervisor ? 1 : 2;
      t.equal(
        await eventually(
          () => undone(lab),
          number => number >= times,
        ),
        times,
        'the journal tells',
      );
      t.match(JSON.parse(readFileSync(lab.path(CONFIG), 'utf8')), before, 'the file is not touched');
      t.equal(
        await eventually(
          () => timers(lab),
          left => left === '',
        ),
        '',
        'no timer is left',
      );
    });

  await t.test('a reload fails while something is tried', async t => {
    await succeed(lab, 'systemctl', 'start', 'knockd-nft');
    write(lab, lockout, CANDIDATE);
    await tryIn(lab, 'login', CANDIDATE, '--for', '10m');
    await locksOut(t, lab);
    t.not((await lab.run('systemctl', ['reload', 'knockd-nft'])).status, 0);
    t.match(await succeed(lab, 'journalctl', '-u', 'knockd-nft', '-o', 'cat'), /^knockd-nft: trying /m);
    await succeed(lab, 'knockd-nft', 'undo');
    await succeed(lab, 'systemctl', 'reload', 'knockd-nft');
    t.equal(await rules(lab), was);
  });

  await t.test('an undoer that is killed is started again, and goes back', async t => {
    write(lab, lockout, CANDIDATE);
    await tryIn(lab, 'login', CANDIDATE, '--for', '8s');
    await locksOut(t, lab);
    await succeed(lab, 'systemctl', 'stop', 'login');
    await succeed(lab, 'systemctl', 'kill', '--signal=KILL', 'knockd-nft-undo-*.service');
    t.equal(
      await eventually(
        () => rules(lab),
        now => now === was,
      ),
      was,
    );
  });

  await t.test('a candidate that a knock confirms is the configuration, and no timer is left', async t => {
    await succeed(lab, 'systemctl', 'start', 'knockd-nft');
    const journal = await follow(lab);
    const sequence = [12000, 2345, 3456, 1234];
    write(lab, { services: { ssh: { ...ssh, sequence } } }, CANDIDATE);
    await tryIn(lab, 'login', CANDIDATE, '--for', '1m');
    await journal.line(/^held: trying \/etc\/knockd-nft\.json\.new/);
    await locksOut(t, lab);
    await lab.client().knock(SERVER, ['12000/tcp', ...sshKnocks.slice(1)]);
    t.equal(await reach(lab), 'open');
    await journal.line(/^unchanged table inet knockd, 1 service/);
    t.notOk(existsSync(lab.path(CANDIDATE)));
    t.ok((await status(lab)).inSync);
    t.equal(
      await eventually(
        () => timers(lab),
        left => left === '',
      ),
      '',
    );
    await journal.stop();
  });

  await t.test('confirm keeps it, and the service can still read the file', async t => {
    const journal = await follow(lab);
    write(lab, { services: { ssh: { ...ssh, openFor: '20s' } } }, CANDIDATE);
    own(lab, CANDIDATE);
    await tryIn(lab, 'login', CANDIDATE, '--for', '1m');
    await journal.line(/^held: /);
    t.match(
      await succeed(lab, 'knockd-nft', 'confirm'),
      /^confirmed; \/etc\/knockd-nft\.json\.new is \/etc\/knockd-nft\.json now/,
    );
    await journal.line(/^unchanged table inet knockd, 1 service/);
    t.equal(
      await eventually(
        () => timers(lab),
        left => left === '',
      ),
      '',
    );
    await journal.stop();
  });

  await t.test('services that are first started during a trial leave it to root', async t => {
    // systemctl waits only for the units that it is given, and an unloader that still runs would remove the trial's table
    await succeed(lab, 'systemctl', 'stop', 'knockd-nft', 'knockd-nft-load', 'knockd-nft-unload');
    rmSync(lab.path('/run/knockd-nft'), { recursive: true });
    write(lab, lockout, CANDIDATE);
    await tryLockout(t, lab, CANDIDATE, '--for', '10m');
    await succeed(lab, 'systemctl', 'start', 'knockd-nft');
    t.match(await succeed(lab, 'knockd-nft', 'undo'), /^undone: /);
    t.equal(
      await eventually(
        () => status(lab),
        ({ inSync }) => inSync === true,
      ).then(({ inSync }) => inSync),
      true,
      'and then they load the file',
    );
  });

  await t.test('a file that was tried in place is not loaded at boot', async t => {
    await succeed(lab, 'systemctl', 'disable', '--now', 'knockd-nft');
    const good = readFileSync(lab.path(CONFIG), 'utf8');
    write(lab, lockout);
    await tryLockout(t, lab, '--for', '1m');
    await lab.reboot();
    await lab.server().listen(22);
    const loader = await succeed(lab, 'journalctl', '-u', 'knockd-nft-load', '-o', 'cat');
    t.match(loader, /this content was tried and not confirmed/);
    t.match(loader, /THE CONFIGURATION CANNOT BE USED: the last good one is loaded instead/);
    await lab.client().knock(SERVER, sshKnocks);
    t.equal(await reach(lab), 'open', `as ${good} says`);
    await succeed(lab, 'systemctl', 'start', 'knockd-nft');
    t.match(
      await succeed(lab, 'journalctl', '-u', 'knockd-nft', '-b', '-o', 'cat'),
      /the last good configuration is in force instead/,
    );
  });
});
