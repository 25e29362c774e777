import type { Closed } from '../config/types.ts';
import { type PortRange, writtenPortRange } from '../inet/port.ts';

/** The content of a first configuration. */
export interface Draft {
  /** At least one. */
  readonly services: readonly DraftService[];
  /** Addresses that need no knock. */
  readonly allow: readonly string[];
  readonly hook: 'input' | 'prerouting';
  /** The answer of the ports next to the services; 'drop' if that is not known. */
  readonly closed: Closed;
  /** The schema, for editors; null if it is not here. */
  readonly schema: string | null;
}

export interface DraftService {
  readonly name: string;
  readonly ports: readonly PortRange[];
  /** TCP ports, in order. */
  readonly sequence: readonly number[];
  /** Set if the ports next to it show something else than the draft's `closed`. */
  readonly closed?: Closed;
  /** Replaces the sequence, if set. */
  readonly token?: { readonly user: string; readonly secret: Uint8Array };
}

type Change = readonly [from: RegExp, to: string];

/** Text that the example in the sources says about itself, and that a file in use should not have. */
const IN_USE: readonly Change[] = [
  [
    /\/\/ Keep it readable by its owner only \(chmod 600\)/,
    '// Keep it readable by root and its group only (chmod 640)',
  ],
  [/CHANGE THEM: everybody knows these\./, 'These are random ones of this host.'],
];

const TOKENS_INSTEAD: Change = [
  /\/\/ The knocks that open the service.*/,
  '// One-time tokens: a secret for each device. "knockd-nft user add" makes more of them.',
];

const SCHEMA = /\{ "\$schema": "\.\/knockd-nft\.schema\.json",/;
const SEQUENCE = /"sequence": \[[\d, ]+\]/;
/** The setting for all services. That of a single one is indented further. */
const DEFAULT_CLOSED = /(?<=\n {2})\/\/ "closed": "drop"/;
/** The schema's path in packages. */
export const PACKAGED_SCHEMA = '/usr/share/knockd-nft/knockd-nft.schema.json';

/** A first configuration: the commented example (config/knockd-nft.json) with the draft in place of its service. */
export function writeDraft(example: string, { services, allow, hook, closed, schema }: Draft): string {
  const [first, ...more] = services;
  if (first === undefined) throw new Error('a draft without services');
  return change(example, [
    ...IN_USE,
    [SCHEMA, schema === null ? '{' : `{ "$schema": ${JSON.stringify(schema)},`],
    [/"ssh": \{/, `${JSON.stringify(first.name)}: {`],
    [/"ports": \[22\]/, `"ports": ${portsText(first.ports)}`],
    ...(first.token ? [TOKENS_INSTEAD] : []),
    [SEQUENCE, wayText(first)],
    [/(?<=\n {4}\},\n)(?= {2}\},\n)/, more.map(serviceText).join('')],
    ...(allow.length > 0 ? [[/\/\/ "allow": \[\]/, `"allow": ${listText(allow)}`] as const] : []),
    ...(closed === 'drop' ? [] : [[DEFAULT_CLOSED, `"closed": "${closed}"`] as const]),
    ...(hook === 'input' ? [] : [[/\/\/ "hook": "input"/, `"hook": "${hook}"`] as const]),
  ]);
}

/** The first configuration of a package: services are comments `//"ssh": {`, so it guards nothing yet. */
export function packagedConfiguration(example: string, sequence: readonly number[]): string {
  const [, head, services, rest] = example.match(/^(.*\n {2}"services": \{\n)(.*?\n)( {2}\},\n.*)$/s) ?? [];
  if (services === undefined) throw new Error('the example has no services to comment out');
  const commented = services.replace(/^( *)(?=["{}])/gm, '$1//');
  const hint = '    // Remove the // before each line that begins with //" or //} to guard ssh, and save.\n';
  return change(`${head}${hint}${commented}${rest}`, [
    ...IN_USE,
    [SCHEMA, `{ "$schema": "${PACKAGED_SCHEMA}",`],
    [SEQUENCE, `"sequence": ${listText(sequence)}`],
  ]);
}

/**
 * Whether a file is still what a package wrote, without changes and with no guarded port. The package of another version may have
 * written it, with other sentences in its comments.
 */
export function isPackaged(text: string, example: string): boolean {
  const [sequence = ''] = SEQUENCE.exec(text) ?? [];
  const packaged = packagedConfiguration(example, (sequence.match(/\d+/g) ?? []).map(Number));
  return withoutProse(text) === withoutProse(packaged);
}

/** A comment of prose begins with a space, one that hides a line of the configuration does not. */
function withoutProse(text: string): string {
  return text.replaceAll(/^ *\/\/ .*\n/gm, '').replaceAll(/\n{3,}/g, '\n\n');
}

function change(text: string, changes: readonly Change[]): string {
  return changes.reduce((changed, [from, to]) => {
    if (!from.test(changed)) throw new Error(`the example has nothing like ${from} to change`);
    return changed.replace(from, () => to);
  }, text);
}

function serviceText(service: DraftService): string {
  const { name, ports, closed } = service;
  const look = closed === undefined ? '' : `, "closed": "${closed}"`;
  return `    ${JSON.stringify(name)}: { "ports": ${portsText(ports)}, ${wayText(service)}${look} },\n`;
}

function wayText({ sequence, token }: DraftService): string {
  if (!token) return `"sequence": ${listText(sequence)}`;
  return `"tokens": { ${JSON.stringify(token.user)}: "${Buffer.from(token.secret).toString('hex')}" }`;
}

function portsText(ports: readonly PortRange[]): string {
  return listText(ports.map(writtenPortRange));
}

function listText(values: readonly (number | string)[]): string {
  return `[${values.map(value => JSON.stringify(value)).join(', ')}]`;
}
