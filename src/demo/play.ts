/** The story of the demo. Each sentence with a claim is a step, and we see each step happen before we tell it. */

import { randomBytes } from 'node:crypto';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { noteFresh } from '../feeder/book.ts';
import { formatDuration } from '../inet/duration.ts';
import { formatPort } from '../inet/port.ts';
import type { Status } from '../ruleset/status.ts';
import { deriveToken, windowAt } from '../token/derive.ts';
import { withToken } from './plot.ts';
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
    await sendTokens(scene);
    await superviseAll(scene);
  });
  tell.title('That was all');
  tell.say(
    'No process waited for the knocks: no daemon that could crash, nothing to attack as root.',
    'This little network ends with the program. README.md says what to do next.',
  );
}

/** The first act: one load, and knocks. */
async function knockAll({ plot, stage, program, name: file, tell }: Scene): Promise<void> {
  const { service, port, knocks, wrong } = plot;
  const { families } = stage;
  const { name, openFor, knockTimeout } = service;
  const { check, isOpen, areClosed, goesOn, knock } = witness(stage, tell);
  const command = (words: string) => `knockd-nft --config ${file} ${words}`;
  const isClosed = (step: string) => areClosed(step, port, service.closed);

  const status = async (): Promise<Status> =>
    JSON.parse(succeeded(await program.run('status', '--json')).stdout);
  /** Knocks one by one, and after each reads from the kernel how far the client is. On a machine too slow for that it begins again. */
  const knockWatched = async (to: Addresses, again = 3): Promise<void> => {
    let before = performance.now();
    for (const [index, one] of knocks.entries()) {
      const begun = performance.now();
      await knock(to, [one]);
      const { knocking, services } = await status();
      const step = index + 1;
      const last = step === knocks.length;
      const isSeen = last
        ? services[name]?.opened === 1
        : knocking.some(({ service, step: made }) => service === name && made === step);
      if (!isSeen && again > 0 && performance.now() - before > knockTimeout) {
        await tell.wait(
          knockTimeout,
          'that took longer than a pause between knocks may; the client begins again',
        );
        return knockWatched(to, again - 1);
      }
      check(
        'knock',
        `client knocks on ${formatPort(one)}`,
        isSeen,
        last
          ? `the kernel lets it in for ${formatDuration(openFor)}`
          : `the kernel notes ${step} of ${knocks.length}`,
      );
      before = begun;
    }
  };

  tell.chapter('A service that any client can reach');
  tell.say(`A program listens on the server's port ${port}/tcp, and greets every client:`);
  for (const family of families) await isOpen('unguarded', family, port);

  tell.chapter('One program hides it, and is gone');
  tell.say(
    `${file} calls it "${name}" and says: only for clients that knock on`,
    `${knocks.map(formatPort).join(', then ')}.`,
  );
  const load = succeeded(await program.run('load'));
  tell.ran(command('load'), load.stdout);
  check('load', `the program ran as process ${load.pid}, and has ended`, !isRunning(load.pid));
  const ports = listeners();
  const onKnockPorts = ports.filter(one => knocks.some(knock => formatPort(knock) === formatPort(one)));
  check(
    'listeners',
    `open ports of the server: ${ports.map(formatPort).join(', ')} (the service); no program listens on the knock ports`,
    ports.length > 0 && onKnockPorts.length === 0,
  );
  check('sniffers', 'programs that read its network traffic: none', sniffers() === 0);
  tell.say('A ruleset in the kernel is left. It does the rest.');

  tell.chapter('Closed');
  await isClosed('closed');

  tell.chapter('The client knocks, and the kernel counts');
  const [first, ...others] = families;
  await knockWatched(first);
  tell.say('Each knock is one packet without an answer. nftables sets remember how far each client is.');

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
    `the kernel's counters: ${opened} opened, ${accepted} accepted`,
    inSync === true && opened === families.length && accepted === families.length,
  );

  tell.chapter(`Closed again, after ${formatDuration(openFor)}`);
  await tell.wait(Math.max(0, openFor + 200 - (performance.now() - lastOpening)), 'the door stays open');
  tell.say('No program closes the door: in the sets, the element of each client expires.');
  await isClosed('closed again');

  tell.chapter('But no client is thrown out');
  tell.say('The connection that came in earlier is established, so it goes on:');
  await goesOn('established');

  if (wrong) {
    tell.chapter('The wrong order opens nothing');
    tell.say(`The client knocks on ${wrong.map(formatPort).join(', ')}:`);
    await knock(first, wrong);
    await isClosed('wrong order');
  }
}

/** An eavesdropper can repeat knocks. A token is one packet that is good once. */
async function sendTokens({ plot, stage, program, name: file, text, tell }: Scene): Promise<void> {
  const { service, port, token } = plot;
  const { name } = service;
  const { check, isOpen, areClosed } = witness(stage, tell);
  const [client] = stage.families;
  tell.chapter('A knock that nobody can repeat');
  tell.say(
    'Anyone who sees the knocks can repeat them. So a user can have a secret instead. The client makes one-time tokens of it, one a',
    'minute. Each is a single packet, and those of the coming hours stand ready in the kernel. The file gets a user, laptop:',
  );
  const key = { secret: randomBytes(32), realm: token.realm, service: name };
  const state = mkdtempSync(join(tmpdir(), 'knockd-nft-demo-'));
  const remove = () => rmSync(state, { recursive: true, force: true });
  process.once('exit', remove);
  try {
    await noteFresh({ STATE_DIRECTORY: state }, [key]);
    program.save(withToken(text, service, USER, key.secret));
    const load = succeeded(await program.runWithState(state, 'load'));
    tell.ran(`knockd-nft --config ${file} load`, load.stdout);
  } finally {
    remove();
    process.off('exit', remove);
  }
  const once = { address: client.server, port: token.port, token: deriveToken(key, windowAt(Date.now())) };
  const status = async () =>
    (JSON.parse(succeeded(await program.run('status', '--json')).stdout) as Status).services[name];
  const before = (await status())?.opened ?? 0;
  await stage.client.call('token', once);
  const { opened, clients = [] } = (await status()) ?? {};
  check(
    'token',
    `client sends a token to ${formatPort(token.port)}, where no program listens`,
    opened === before + 1 && clients.some(({ user }) => user === USER),
    `the kernel lets ${USER} in`,
  );
  await isOpen('token open', client, port);
  tell.say('An eavesdropper sends the same packet again:');
  await stage.client.call('token', once);
  await areClosed('token again', port, service.closed);
  program.save(text);
  succeeded(await program.run('load'));
}

/** The user with tokens in the demo. */
const USER = 'laptop';

/** The ended command. Throws if it failed. */
function succeeded(ended: Ended): Ended {
  if (ended.status === 0) return ended;
  throw new NotSeenError(`knockd-nft ended with ${ended.status}: ${(ended.stderr || ended.stdout).trim()}`);
}
