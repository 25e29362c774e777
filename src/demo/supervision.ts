import { formatPort } from '../inet/port.ts';
import { LONGER, withLongerOpening, withService } from './plot.ts';
import type { Supervisor } from './program.ts';
import type { Scene } from './scene.ts';
import { isRunning, removeTables, serve } from './server.ts';
import { GREETING, type Witness, witness } from './witness.ts';

/** The second act: a supervisor follows the file and repairs the table, but knocks do not need it. */
export function superviseAll(scene: Scene): Promise<void> {
  const { plot, program, stage, tell } = scene;
  return serve(plot.added.port, `${GREETING}\n`, () =>
    program.supervise(async supervisor => {
      const sees = witness(stage, tell);
      await follow(scene, sees, supervisor);
      await repair(scene, sees, supervisor);
      await die(scene, sees, supervisor);
    }),
  );
}

/** Checks that the journal has a line with that event. */
async function journal({ check }: Witness, supervisor: Supervisor, event: string): Promise<void> {
  const line = await supervisor.tells(new RegExp(`^${event} `));
  check(
    event,
    'journal',
    line !== undefined,
    line ?? `no line "${event} …" in: ${supervisor.lines.join(' | ')}`,
  );
}

async function follow({ plot, stage, program, ...scene }: Scene, sees: Witness, supervisor: Supervisor) {
  const { service, port, knocks, added, othersOpen } = plot;
  const { name: file, text, tell } = scene;
  const [client] = stage.families;

  tell.chapter('A supervisor follows the file');
  tell.say('One load is enough. But a program may stay, watch the file, and report to the journal:');
  tell.ran(`knockd-nft --config ${file} run`);
  await journal(sees, supervisor, 'unchanged');

  const longer = withLongerOpening(text, service);
  tell.say(
    `An administrator edits a copy of ${file}: "openFor" of ${service.name} is now ${LONGER}. Saving it is enough:`,
  );
  program.save(longer);
  await journal(sees, supervisor, 'swapped');
  tell.say(`The client knocks on ${knocks.map(formatPort).join(', ')}:`);
  await sees.knock(client, knocks);
  await journal(sees, supervisor, 'opened');

  tell.say(`Now ${added.port}/tcp, which was not guarded, gets a sequence of its own, as "${added.name}":`);
  if (othersOpen) await sees.isOpen('not guarded', client, added.port);
  program.save(withService(longer, added, service));
  await journal(sees, supervisor, 'swapped');
  await sees.areClosed('newly guarded', added.port, service.closed);
  tell.say('The client that was in stays in, without another knock, and its connection goes on:');
  await sees.isOpen('kept', client, port);
  await sees.goesOn('established');
}

async function repair({ plot, stage, tell }: Scene, sees: Witness, supervisor: Supervisor) {
  tell.chapter('Another program clears the ruleset');
  const tables = await removeTables();
  sees.check('removed', 'the table is deleted, as by "nft flush ruleset": nothing is guarded', tables === 1);
  await journal(sees, supervisor, 'restored');
  await sees.areClosed('restored', plot.added.port, plot.service.closed);
  tell.say('The client that was in is in again:');
  await sees.isOpen('kept', stage.families[0], plot.port);
  await sees.goesOn('established');
}

async function die({ plot, stage, tell }: Scene, sees: Witness, supervisor: Supervisor) {
  const { port, knocks } = plot.added;
  const [client] = stage.families;
  tell.chapter('The supervisor is killed');
  await supervisor.kill();
  sees.check('killed', `process ${supervisor.pid} got SIGKILL, and is gone`, !isRunning(supervisor.pid));
  tell.say(`The client knocks on ${knocks.map(formatPort).join(', ')}, which it did not before:`);
  await sees.knock(client, knocks);
  await sees.isOpen('without supervisor', client, port);
  tell.say('systemd would start it again. The kernel does not wait for that.');
}
