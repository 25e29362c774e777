/** Interfaces come and go: systemd's STATUS and the journal always say truly whether anything is guarded. */
import { mkdirSync } from 'node:fs';
import { dirname, join } from 'node:path';
import t from 'tap';
import { createWorld } from '../kernel/world.ts';
import { skip, ssh } from './supervised.ts';

t.test(
  'if nothing comes in by "interfaces", the supervisor says so until that changes',
  { skip },
  async t => {
    const world = await createWorld(t);
    const folder = join(dirname(world.configFile), 'run');
    mkdirSync(folder);
    world.write({ services: { ssh }, interfaces: ['wan0'] });
    const socket = join(folder, 'notify');
    const manager = world.start('server', process.execPath, ['build/test/supervisor/manager.js', socket]);
    await manager.line(/^bound/);
    const supervisor = world.startKnockd(['run'], { RUNTIME_DIRECTORY: folder, NOTIFY_SOCKET: socket });
    await supervisor.line(/"level":40.*NOTHING IS GUARDED/);
    await supervisor.line(/there is no interface .*wan0.*, so nothing comes in there/);
    t.match(
      await manager.line(/^STATUS=.*is in force/),
      /^STATUS="interfaces": .*NOTHING IS GUARDED; should guard ssh/,
    );
    t.notMatch(manager.lines().join('\n'), /=guarding/, 'never said otherwise');

    const link = (...words: readonly string[]) => world.run('server', 'ip', ['link', ...words]);
    t.equal((await link('add', 'wan0', 'type', 'veth', 'peer', 'name', 'far0')).status, 0);
    await manager.line(/^STATUS=guarding ssh; .* is in force$/);
    t.equal((await link('del', 'wan0')).status, 0);
    await manager.line(/^STATUS=.*NOTHING IS GUARDED/);
    await supervisor.line(/NOTHING IS GUARDED/);

    world.write({ services: { ssh }, interfaces: ['eth0', 'wan0'] });
    await supervisor.line(/there is no interface .*wan0/);
    await manager.line(/^STATUS=guarding ssh; .* is in force$/);
    t.equal((await supervisor.stop()).status, 0);
  },
);
