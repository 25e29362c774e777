// init/ finds a first configuration for this host, and writes its text.
// The command asks the questions.
// Floor 7: it imports only from rooms on lower floors.

import { NAMING } from '../config/shape.ts';
import { bad, good, type Outcome } from '../inet/outcome.ts';
import { formatPortRange, overlap, type PortRange, readPortRange } from '../inet/port.ts';
import type { Found } from './found.ts';

/** A service to be hidden. */
export interface Choice {
  readonly name: string;
  readonly ports: readonly PortRange[];
}

const EXPECTED = 'NAME=PORTS, such as ssh=22, web=80,443 or game=6000-6010/udp';

/**
 * Reads services by their names or numbers in `found`, or written out: `ssh`, `2`, `web=80,443`. If a word is wrong, it says
 * what is wrong with the first such word.
 */
export function readChoices(words: readonly string[], found: readonly Found[]): Outcome<readonly Choice[]> {
  const choices: Choice[] = [];
  for (const word of words) {
    const choice = word.includes('=') ? readWritten(word) : readNamed(word, found);
    if (!choice.ok) return choice;
    const wrong = tellTwice(choice.value, choices);
    if (wrong !== undefined) return bad(wrong, 'each name and each port once');
    choices.push(choice.value);
  }
  return good(choices);
}

function readNamed(word: string, found: readonly Found[]): Outcome<Choice> {
  const service = found.find(({ name }, index) => name === word || String(index + 1) === word);
  return service
    ? good(service)
    : bad(`"${word}" is not in the list`, `a name or a number of the list, or ${EXPECTED}`);
}

function readWritten(word: string): Outcome<Choice> {
  const [name = '', list = ''] = word.split(/=(.*)/s);
  if (!NAMING.pattern.test(name)) return bad(`"${name}" is no service name`, NAMING.expected);
  const ports: PortRange[] = [];
  for (const text of list.split(',')) {
    const port = readPortRange(text.includes('/') ? text : `${text}/tcp`);
    if (!port.ok) return bad(`"${text}" ${port.wrong}`, EXPECTED);
    ports.push(port.value);
  }
  return good({ name, ports });
}

/** The part of a choice that is in an earlier one, or twice in itself. */
function tellTwice({ name, ports }: Choice, earlier: readonly Choice[]): string | undefined {
  if (earlier.some(it => it.name === name)) return `${name} appears twice`;
  const taken = earlier.flatMap(it => it.ports);
  for (const port of ports) {
    if (taken.some(it => overlap(it, port))) return `${formatPortRange(port)} appears twice`;
    taken.push(port);
  }
  return undefined;
}
