import { formatDuration } from '../config/duration.ts';
/** The story of the demo. Every sentence that claims something is a step, and every step is seen before it is told. */
import type { Status } from '../ruleset/status.ts';
import { portText } from './plot.ts';
import type { Ended } from './program.ts';
import type { Scene } from './scene.ts';
import { isRunning, listeners, serve, sniffers } from './server.ts';
import type { Addresses } from './stage.ts';
import { superviseAll } from './supervision.ts';
import { GREETING, NotSeenError, witness } from './witness.ts';

/** The whole story. Throws {@link NotSeenError} at the first step that does not happen. */
export async function play(scene: Scene): Promise<void> {
  const { plot, stage, tell } = scene;
  tell.title('knockd-nft: port knocking that the kernel does itself');
  tell.say(
    'Two hosts, in a network of their own inside this computer; yours is not touched:',
    ...stage.families.map(
      ({ server, client }, index) =>
        `${index === 0 ? 'a server' : '        '} ${server}, and beside it a client ${client}`,
    ),
  );
  await serve(plot.port, `${GREETING}\n`, async () => {
    await knockAll(scene);
    await superviseAll(scene);
  });
  tell.title('That was all');
  tell.say(
    'No process waited for the knocks: no daemon that could crash, nothing to attack as root.',
    'This little network ends with the program. What to do next is in README.md.',
  );
}

/** The first act: one load, and knocks. */
async function knockAll({ plot, stage, program, name: file, tell }: Scene): Promise<void> {
  const { service, port, knocks, wrong } = plot;
  const { families } = stage;
  const { name, openFor } = service;
  const { check, isOpen, areClosed, goesOn, knock } = witness(stage, tell);
  const command = (words: string) => `knockd-nft --config ${file} ${words}`;
  const isClosed = (step: string) => areClosed(step, port, service.closed);

  const status = async (): Promise<Status> =>
    JSON.parse(succeeded(await program.run('status', '--json')).stdout);
  /** Knocks one by one, and reads after each from the kernel how far the client is. */
  const knockWatched = async (to: Addresses) => {
    for (const [index, one] of knocks.entries()) {
      await knock(to, [one]);
      const { knocking, services } = await status();
      const step = index + 1;
      const last = step === knocks.length;
      check(
        'knock',
        `client knocks on ${portText(one)}`,
        last
          ? services[name]?.opened === 1
          : knocking.some(({ service, step: made }) => service === name && made === step),
        last
          ? `the kernel lets it in for ${formatDuration(openFor)}`
          : `the kernel notes ${step} of ${knocks.length}`,
      );
    }
  };

  tell.chapter('A service that everybody can reach');
  tell.say(`Something listens on the server's port ${port}/tcp, and greets whoever comes:`);
  for (const family of families) await isOpen('unguarded', family, port);

  tell.chapter('One program hides it, and is gone');
  tell.say(
    `${file} calls it "${name}" and says: only for clients that knock on`,
    `${knocks.map(portText).join(', then ')}.`,
  );
  const load = succeeded(await program.run('load'));
  tell.ran(command('load'), load.stdout);
  check('load', `the program ran as process ${load.pid}, and has ended`, !isRunning(load.pid));
  const ports = listeners();
  const onKnockPorts = ports.filter(one => knocks.some(knock => portText(knock) === portText(one)));
  check(
    'listeners',
    `who listens on the server: ${ports.map(portText).join(', ')} (the service); on the knock ports nobody`,
    ports.length > 0 && onKnockPorts.length === 0,
  );
  check('sniffers', 'who reads along on its network: nobody', sniffers() === 0);
  tell.say('What is left is a ruleset in the kernel. It does the rest.');

  tell.chapter('Closed');
  await isClosed('closed');

  tell.chapter('The client knocks, and the kernel counts');
  const [first, ...others] = families;
  await knockWatched(first);
  tell.say('Each knock is one packet that nobody answers. nftables sets remember how far who is.');

  tell.chapter('Open');
  await isOpen('open', first, port, true);
  for (const family of others) {
    tell.say(`The same over IPv6, from ${family.client}, ${knocks.length} knocks in a row:`);
    await knock(family, knocks);
    await isOpen('open', family, port);
  }
  const lastOpening = performance.now();
  const { inSync, services } = await status();
  tell.ran(command('status'), succeeded(await program.run('status')).stdout);
  const { opened = 0, accepted = 0 } = services[name] ?? {};
  check(
    'status',
    `asked, the kernel says who came in: ${opened} opened, ${accepted} accepted`,
    inSync === true && opened === families.length && accepted === families.length,
  );

  tell.chapter(`Closed again, after ${formatDuration(openFor)}`);
  await tell.wait(Math.max(0, openFor + 200 - (performance.now() - lastOpening)), 'the door stays open');
  tell.say('Nobody closes the door: the sets forget, each client at its time.');
  await isClosed('closed again');

  tell.chapter('But nobody is thrown out');
  tell.say('The connection that came in before is established, so it goes on:');
  await goesOn('established');

  if (wrong) {
    tell.chapter('The wrong order opens nothing');
    tell.say(`The client knocks on ${wrong.map(portText).join(', ')}:`);
    await knock(first, wrong);
    await isClosed('wrong order');
  }
}

/** The command, if it did what it should. */
function succeeded(ended: Ended): Ended {
  if (ended.status === 0) return ended;
  throw new NotSeenError(`knockd-nft ended with ${ended.status}: ${(ended.stderr || ended.stdout).trim()}`);
}
