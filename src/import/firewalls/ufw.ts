import { CLOSE, type Effect, NOTHING, opening, type PortNames, unknown } from '../effect.ts';

/** The one application profile on every host with ufw and ssh. */
const APPLICATIONS: Readonly<Record<string, string>> = { OpenSSH: '22' };

/** A command of ufw(8), without the program. */
export function readUfw(words: readonly string[], names: PortNames): Effect {
  if (words.includes('--dry-run')) return NOTHING;
  const left = words.filter(word => word !== '--force');
  if (left[0] === 'route')
    return unknown('opens a way to other hosts: "hook": "prerouting" guards forwarded ports');
  const deletes = left[0] === 'delete';
  if (deletes) left.shift();
  if (left[0] === 'rule') left.shift();
  if (left[0] === 'insert') left.splice(0, 2);
  if (left[0] === 'prepend') left.shift();
  const verb = left.shift() ?? '';
  if (deletes && /^\d+$/.test(verb)) return CLOSE;
  const lets = verb === 'allow' || verb === 'limit';
  if (!lets && verb !== 'deny' && verb !== 'reject') return unknown('is not a rule that lets clients in');
  if (lets === deletes) return CLOSE;
  return readRule(left, names);
}

function readRule(words: readonly string[], names: PortNames): Effect {
  const conditions: string[] = [];
  let protocol: string | undefined;
  let ports: string | undefined;
  let from: string | undefined;
  let side = 'to';
  for (let index = 0; index < words.length; index++) {
    const [word = '', next = ''] = [words[index], words[index + 1]];
    if (word === 'in' || word === 'log' || word === 'log-all') continue;
    if (word === 'out') return unknown('is for outgoing packets');
    if (word === 'comment') {
      index++;
      continue;
    }
    if (word === 'proto') protocol = next;
    else if (word === 'on') conditions.push(`on ${next}`);
    else if (word === 'from') {
      side = 'from';
      if (next !== 'any') from = next;
    } else if (word === 'to') {
      side = 'to';
      if (next !== 'any') conditions.push(`to ${next}`);
    } else if ((word === 'port' || word === 'app') && side === 'to') {
      if (ports !== undefined) return unknown(`has "${ports}" and "${next}" for ports`);
      if (word === 'port') ports = next;
      else [ports, protocol] = application(next);
    } else if (word === 'port' || word === 'app') conditions.push(`from ${word} ${next}`);
    else if (index === 0 || words[index - 1] === 'in') {
      [ports, protocol] = simple(word);
      continue;
    } else return unknown(`has "${word}", which cannot be read`);
    index++;
  }
  return opening({ protocol, ports, from, conditions }, names);
}

/** Reads `22`, `22/tcp`, `ssh`, `OpenSSH`. */
function simple(word: string): readonly [ports: string, protocol: string | undefined] {
  if (Object.hasOwn(APPLICATIONS, word)) return application(word);
  const [ports = '', protocol] = word.split('/');
  return [ports, protocol ?? (/^\d/.test(ports) ? undefined : 'tcp')];
}

function application(name: string): readonly [ports: string, protocol: string] {
  return [APPLICATIONS[name] ?? name, 'tcp'];
}
