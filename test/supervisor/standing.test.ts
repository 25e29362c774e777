/** `status` says who looks after the table. */
import t from 'tap';
import { skip, ssh, supervised } from './supervised.ts';

t.test('status names the supervisor as long as it runs, and what holds it', { skip }, async t => {
  const { world, supervisor, environment } = await supervised(t, { services: { ssh } });
  const status = async () => {
    const { stdout } = await world.knockd(['status'], { env: environment });
    const json = JSON.parse((await world.knockd(['status', '--json'], { env: environment })).stdout);
    return { text: stdout, json };
  };
  const running = await status();
  t.match(running.json.supervisor, { pid: supervisor.pid, config: world.configFile });
  t.match(running.text, `\nsupervisor: process ${supervisor.pid} follows ${world.configFile}\n`);
  t.match(running.json, { hold: null, trial: null });
  await world.knockd(['unload', '--force'], { env: environment });
  const held = await status();
  t.match(held.json.hold, { reason: String, until: null });
  t.match(held.text, /^held: /m);
  await supervisor.stop();
  const alone = await status();
  t.equal(alone.json.supervisor, null);
  t.match(alone.text, /^supervisor: none runs/m);
});
