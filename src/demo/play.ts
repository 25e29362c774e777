/** The story of the demo. Every sentence that claims something is a step, and every step is seen before it is told. */
import type { Config, Port, Service } from '../config/types.ts';
import { timeText } from '../nftables/element.ts';
import type { Status } from '../ruleset/status.ts';
import type { Visit } from './client.ts';
import { type Ended, isRunning, type Knockd, listeners, sniffers, withService } from './server.ts';
import type { Addresses, Stage } from './stage.ts';
import type { Teller } from './teller.ts';

/** A step that was claimed did not happen. */
export class NotSeenError extends Error {
  override readonly name = 'NotSeenError';
}

/** What the demo needs of a configuration. */
export interface Plot {
  readonly service: Service;
  /** The guarded TCP port that is visited. */
  readonly port: number;
  readonly knocks: readonly Port[];
  /** The same knocks in an order that opens nothing; undefined for a sequence that has no such order. */
  readonly wrong: readonly Port[] | undefined;
}

/** Longest opening that the demo waits for, in milliseconds. */
const LONGEST = 60_000;

/** The first service with a TCP port; or why there is none to show, in words. */
export function plotOf({ services }: Config): Plot | string {
  for (const service of services) {
    const port = service.ports.find(({ protocol }) => protocol === 'tcp')?.first;
    const knocks = service.sequences[0]?.knocks;
    if (port === undefined || !knocks) continue;
    if (service.openFor > LONGEST)
      return `"openFor" of ${service.name} is ${timeText(service.openFor)}, and the demo waits for its end: at most ${timeText(LONGEST)}`;
    return { service, port, knocks, wrong: wrongOrder(service, knocks) };
  }
  return 'there is no service with a TCP port';
}

/** Backwards, or without the last: whatever holds none of the service's sequences. */
function wrongOrder({ sequences }: Service, knocks: readonly Port[]): readonly Port[] | undefined {
  const opens = (tried: readonly Port[]) => sequences.some(sequence => holds(tried, sequence.knocks));
  return [knocks.toReversed(), knocks.slice(0, -1)].find(tried => tried.length > 0 && !opens(tried));
}

/** Whether `wanted` is in `knocks`, in order, perhaps with others in between: those may be repeats. */
function holds(knocks: readonly Port[], wanted: readonly Port[]): boolean {
  let made = 0;
  for (const knock of knocks) if (wanted[made] && portText(wanted[made]) === portText(knock)) made++;
  return made === wanted.length;
}

function portText(port: Port | undefined): string {
  return port ? `${port.port}/${port.protocol}` : '';
}

/** Milliseconds that the client waits: for an answer that must come, and for one that must not. */
const PATIENCE = { open: 5000, closed: 800 } as const;

const GREETING = 'Hello! You found the hidden service.';

/** The whole story. Throws {@link NotSeenError} at the first step that does not happen. */
export function play(plot: Plot, stage: Stage, knockd: Knockd, file: string, tell: Teller): Promise<void> {
  return withService(plot.port, `${GREETING}\n`, () => tellAll(plot, stage, knockd, file, tell));
}

async function tellAll(plot: Plot, stage: Stage, knockd: Knockd, file: string, tell: Teller): Promise<void> {
  const { service, port, knocks, wrong } = plot;
  const { client, families } = stage;
  const { name, openFor, closed } = service;
  const command = (words: string) => `knockd-nft --config ${file} ${words}`;

  const check = (step: string, claim: string, ok: boolean, seen = ''): void => {
    tell.step({ step, claim, seen, ok });
    if (!ok) throw new NotSeenError(`${step}: ${claim}${seen === '' ? '' : ` (seen: ${seen})`}`);
  };
  const visit = (address: string, patience: number, stay = false) =>
    client.ask('visit', { address, port, patience, stay });
  const isOpen = (step: string, { server }: Addresses, { reach, greeting }: Visit) =>
    check(
      step,
      `client to ${server} port ${port}`,
      greeting === GREETING,
      greeting ? `"${greeting}"` : reach,
    );
  const areClosed = async (step: string) => {
    const visits = await Promise.all(families.map(({ server }) => visit(server, PATIENCE.closed)));
    for (const [index, { reach }] of visits.entries())
      check(
        step,
        `client to ${families[index]?.server} port ${port}`,
        reach === (closed === 'drop' ? 'silent' : 'refused'),
        REACH[reach],
      );
  };
  const status = async (): Promise<Status> => JSON.parse(succeeded(await knockd('status', '--json')).stdout);
  /** Knocks one by one, and reads after each from the kernel how far the client is. */
  const knockWatched = async ({ server }: Addresses) => {
    for (const [index, knock] of knocks.entries()) {
      await client.ask('knock', { address: server, knocks: [knock] });
      const { knocking, services } = await status();
      const step = index + 1;
      const last = step === knocks.length;
      check(
        'knock',
        `client knocks on ${portText(knock)}`,
        last
          ? services[name]?.opened === 1
          : knocking.some(({ service, step: made }) => service === name && made === step),
        last
          ? `the kernel lets it in for ${timeText(openFor)}`
          : `the kernel notes ${step} of ${knocks.length}`,
      );
    }
  };

  tell.title('knockd-nft: port knocking that the kernel does itself');
  tell.say(
    'Two hosts, in a network of their own inside this computer; yours is not touched:',
    ...families.map(
      ({ server, client }, index) =>
        `${index === 0 ? 'a server' : '        '} ${server}, and beside it a client ${client}`,
    ),
  );

  tell.chapter('A service that everybody can reach');
  tell.say(`Something listens on the server's port ${port}/tcp, and greets whoever comes:`);
  for (const family of families) isOpen('unguarded', family, await visit(family.server, PATIENCE.open));

  tell.chapter('One program hides it, and is gone');
  tell.say(
    `${file} calls it "${name}" and says: only for clients that knock on`,
    `${knocks.map(portText).join(', then ')}.`,
  );
  const load = succeeded(await knockd('load'));
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
  await areClosed('closed');

  tell.chapter('The client knocks, and the kernel counts');
  const [first, ...others] = families;
  if (!first) throw new Error('there is no wire');
  await knockWatched(first);
  tell.say('Each knock is one packet that nobody answers. nftables sets remember how far who is.');

  tell.chapter('Open');
  isOpen('open', first, await visit(first.server, PATIENCE.open, true));
  for (const family of others) {
    tell.say(`The same over IPv6, from ${family.client}, ${knocks.length} knocks in a row:`);
    await client.ask('knock', { address: family.server, knocks });
    isOpen('open', family, await visit(family.server, PATIENCE.open));
  }
  const lastOpening = performance.now();
  const { inSync, services } = await status();
  tell.ran(command('status'), succeeded(await knockd('status')).stdout);
  const { opened = 0, accepted = 0 } = services[name] ?? {};
  check(
    'status',
    `asked, the kernel says who came in: ${opened} opened, ${accepted} accepted`,
    inSync === true && opened === families.length && accepted === families.length,
  );

  tell.chapter(`Closed again, after ${timeText(openFor)}`);
  await tell.wait(Math.max(0, openFor + 200 - (performance.now() - lastOpening)), 'the door stays open');
  tell.say('Nobody closes the door: the sets forget, each client at its time.');
  await areClosed('closed again');

  tell.chapter('But nobody is thrown out');
  tell.say('The connection that came in before is established, so it goes on:');
  const words = 'Still here?';
  const echo = await client.ask('say', { text: words, patience: PATIENCE.open });
  check('established', `client says "${words}"`, echo === words, echo ? `comes back "${echo}"` : 'no answer');

  if (wrong) {
    tell.chapter('The wrong order opens nothing');
    tell.say(`The client knocks on ${wrong.map(portText).join(', ')}:`);
    await client.ask('knock', { address: first.server, knocks: wrong });
    await areClosed('wrong order');
  }

  tell.title('That was all');
  tell.say(
    'No process waited for the knocks: no daemon that could crash, nothing to attack as root.',
    'This little network ends with the program. What to do next is in README.md.',
  );
}

const REACH = {
  open: 'open',
  refused: 'refused, as if nobody listened',
  silent: 'no answer, as if nobody were there',
} as const;

/** The command, if it did what it should. */
function succeeded(ended: Ended): Ended {
  if (ended.status === 0) return ended;
  throw new NotSeenError(`knockd-nft ended with ${ended.status}: ${(ended.stderr || ended.stdout).trim()}`);
}
