import { NAMING } from '../config/shape.ts';
import { formatPortRange } from '../inet/port.ts';
import { type Choice, readChoices } from '../init/choice.ts';
import type { Found } from '../init/found.ts';
import { type Ask, withQuestions } from '../terminal/ask.ts';
import { columns } from '../terminal/columns.ts';
import { writeLines } from '../terminal/harmless.ts';
import { painter } from '../terminal/paint.ts';
import { textWidth, wrap } from '../terminal/wrap.ts';

/** The choices for the file. The rest is random. */
export interface Answers {
  readonly services: readonly Choice[];
  /** Addresses and networks, as in the file. */
  readonly allow: readonly string[];
  /** The user whom one-time tokens let in; null if a sequence does. */
  readonly user: string | null;
}

/** The answers that options give; undefined if they give none. */
export type Given = { readonly [Key in keyof Answers]: Answers[Key] | undefined };

/** The facts for the questions. */
interface Asked {
  /** The services that others can reach on this host. */
  readonly found: readonly Found[];
  /** The service that most people want to hide. */
  readonly usual: Choice;
  /** The address that the caller is logged in from. */
  readonly login: string | undefined;
  readonly env: NodeJS.ProcessEnv;
}

/** A common name for a first device. */
const DEVICE = 'laptop';

/** Asks on the terminal for answers that are not given. An empty answer takes the value in brackets. */
export async function askQuestions(given: Given, asked: Asked): Promise<Answers> {
  const { services, allow, user } = given;
  if (services && (allow || asked.login === undefined) && user !== undefined)
    return { services, allow: allow ?? [], user };
  return withQuestions(async ask => ({
    services: services ?? (await askServices(ask, asked)),
    allow: allow ?? (await askAllow(ask, asked)),
    user: user === undefined ? await askWay(ask, asked) : user,
  }));
}

async function askServices(ask: Ask, { found, usual, env }: Asked): Promise<readonly Choice[]> {
  const paint = painter(env, process.stderr);
  if (found.length > 0) {
    say('Others can reach these services here:');
    const rows = found.map(({ name, ports, program, addresses }, index) => [
      `${index + 1}`.padStart(3),
      name,
      ports.map(formatPortRange).join(' '),
      [program, ...addresses].filter(Boolean).join(' '),
    ]);
    const [, ...lines] = columns(['', '', '', ''], rows);
    writeLines(process.stderr, ['', ...lines, '']);
  }
  say(
    'Which of them do you want to hide? Names or numbers, or NAME=PORTS for a service that does not run yet, such as web=80,443.',
  );
  for (;;) {
    const answer = await ask(paint('bold', `[${found.includes(usual as Found) ? usual.name : 'ssh=22'}] > `));
    if (answer === '') return [usual];
    const words = answer.split(/\s+/).flatMap(word => (word.includes('=') ? [word] : word.split(',')));
    const choices = readChoices(words.filter(Boolean), found);
    if (choices.ok && choices.value.length > 0) return choices.value;
    if (!choices.ok) say(`${choices.wrong}; expected ${choices.expected}`);
  }
}

/** The default is yes, so that users whom a mistake keeps out can mend it from there. */
async function askAllow(ask: Ask, { login, env }: Asked): Promise<readonly string[]> {
  if (login === undefined) return [];
  say(
    `You are logged in from ${login}. Should this address get in without a knock? "Yes" keeps a way in for you if your knocks do not arrive; remove it from the file later.`,
  );
  for (;;) {
    const answer = (await ask(painter(env, process.stderr)('bold', '[yes] > '))).toLowerCase();
    if (answer === '' || 'yes'.startsWith(answer)) return [login];
    if ('no'.startsWith(answer)) return [];
    say('yes or no?');
  }
}

/** The default is one-time tokens, since an eavesdropper cannot repeat them. */
async function askWay(ask: Ask, { env }: Asked): Promise<string | null> {
  say(
    'Which of your devices should get in, with one-time tokens that cannot be repeated? A name; or "sequence" for classic knocks, which an eavesdropper can repeat.',
  );
  for (;;) {
    const answer = await ask(painter(env, process.stderr)('bold', `[${DEVICE}] > `));
    if (answer === 'sequence') return null;
    if (answer === '') return DEVICE;
    if (NAMING.pattern.test(answer)) return answer;
    say(`"${answer}" is no name for it; expected ${NAMING.expected}`);
  }
}

function say(text: string): void {
  writeLines(process.stderr, wrap(text, textWidth(process.stderr)));
}
