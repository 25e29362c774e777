/** The clock is set while things go on that take a while. */
import { spawnSync } from 'node:child_process';
import t from 'tap';
import { lacking } from '../kernel/process.ts';
import { skip, ssh, supervised } from '../supervisor/supervised.ts';

/** Programs see this clock, and the time that passes as it is. */
function clockOff(seconds: string): Readonly<Record<string, string>> {
  const { stdout } = spawnSync('faketime', ['-f', seconds, 'printenv', 'LD_PRELOAD'], { encoding: 'utf8' });
  return {
    LD_PRELOAD: stdout.trim(),
    FAKETIME: seconds,
    FAKETIME_DONT_FAKE_MONOTONIC: '1',
    NO_FAKE_STAT: '1',
  };
}

t.test(
  'a clock that is set forward by a day during a trial does not end it: supervisor and load leave the candidate alone',
  { skip: skip || lacking('faketime') },
  async t => {
    const { world, supervisor, environment: env, event } = await supervised(t, { services: { ssh } });
    const candidate = `${world.configFile}.new`;
    await world.run('server', 'cp', ['-p', world.configFile, candidate]);
    await world.run('server', 'sed', ['-i', 's/22/2222/', candidate]);
    const words = ['dist/knockd-nft.cjs', '--config', world.configFile, 'try', candidate, '--for', '10m'];
    const trial = world.start('server', process.execPath, words, { ...env, ...clockOff('-86400') });
    await event('held');
    await trial.line(/is undone at/);
    const load = await world.knockd(['load'], { env });
    t.equal(load.status, 1);
    t.match(load.stderr, /trying .*"knockd-nft confirm" keeps that/);
    t.match(await world.list(), /tcp \. 2222 : goto guard_ssh/);
    const confirm = await world.knockd(['confirm'], { env });
    t.equal(confirm.status, 0, confirm.stderr);
    t.equal((await trial.ended).status, 0);
    t.match(await world.list(), /tcp \. 2222 : goto guard_ssh/);
    t.equal((await supervisor.stop()).status, 0);
  },
);
