import { formatAddress, isPublic } from '../inet/address.ts';
import { formatPortRange, type PortRange } from '../inet/port.ts';
import { shellWord } from '../terminal/shell.ts';
import { wrap } from '../terminal/wrap.ts';
import { type Handout, hostsLine, UNNAMED } from '../users/handout.ts';
import type { Draft, DraftService } from './document.ts';
import type { Login } from './host.ts';
import type { Place } from './place.ts';

/** The facts for the next steps, from a written configuration to a hidden service. */
interface Written {
  readonly place: Place;
  /** The configuration that `place` is for. */
  readonly config: string;
  /** Whether every command takes this one by default. */
  readonly isDefault: boolean;
  /** The path of the old file's copy. */
  readonly copy: string | null;
  readonly draft: Draft;
  /** The data that a user of one-time tokens needs, for each service; empty if there are sequences. */
  readonly handouts: readonly Handout[];
  /** How clients reach this host, as far as we know: an address, or {@link UNNAMED}. */
  readonly host: string;
  /** Whether the caller needs sudo for the next command. */
  readonly sudo: boolean;
}

/** The client's file, for a step. */
const HOSTS = '~/.config/knockd-nft/hosts.json, which no other user may read (chmod 600)';

/** Says what was written, and what to do next, in lines of at most `width` characters. Commands may be longer. */
export function nextSteps(written: Written, width: number): string[] {
  const { place, copy, host, handouts } = written;
  const { services, allow } = written.draft;
  const [command, trial] = commands(written);
  const say = (text: string) => wrap(text, width);
  let steps = 0;
  const step = (text: string, typed: readonly string[]) => {
    const start = `${++steps}. `;
    return [
      '',
      ...wrap(text, width - start.length).map((line, index) => `${index === 0 ? start : '   '}${line}`),
      '',
      ...typed.map(line => `     ${line}`),
    ];
  };
  const ssh = services.find(({ name }) => name === 'ssh');
  const logIn = ssh ? [loginLine(ssh, host)] : [];
  return [
    ...say(`Wrote ${place.path}: it hides ${services.map(serviceText).join(', ')}.`),
    ...(copy === null ? [] : say(`The old file is ${copy} now.`)),
    ...say('Nothing is in force yet. Keep this login open, and go on like this:'),
    ...(handouts.length > 0 ? withTokens() : withKnocks()),
  ];

  function withKnocks(): string[] {
    return [
      ...tryIt(),
      ...step('Meanwhile, on your own computer: knock, and log in again.', [
        ...services.map(service => knockLine(service, host)),
        ...logIn,
      ]),
      ...step(
        'If knockd-nft is not installed there, bash can knock as well.',
        services.map(({ sequence }) => bashLine(sequence, host)),
      ),
      ...confirmIt(),
      ...(ssh ? [...forSsh(ssh), ...step(`and in ${HOSTS}`, [knocksEntry(ssh, host)])] : []),
    ];
  }

  /** The client is made ready before the trial, whose time is short: no token is sent without its file. */
  function withTokens(): string[] {
    return [
      ...step(`On your own computer, in ${HOSTS}`, [hostsLine(...handouts)]),
      ...(ssh ? forSsh(ssh) : []),
      ...tryIt(),
      ...step('Meanwhile, on your own computer: knock, and log in again.', [
        ...handouts.map(handout => knockWithToken(handout, allow.length > 0)),
        ...logIn,
      ]),
      ...confirmIt(),
    ];
  }

  function tryIt(): string[] {
    return step('Try it. After two minutes it is undone, unless it is confirmed.', [trial]);
  }

  function confirmIt(): string[] {
    if (allow.length === 0)
      return step(
        'A client that knocks and comes in confirms it. You can also confirm it in the new login.',
        [`${command} confirm`],
      );
    return step(
      `${allow.join(', ')} would get in without a knock: in the new login, check that the knocks arrived (OPENED is 1), and confirm it.`,
      [`${command} status`, `${command} confirm`],
    );
  }

  function forSsh({ ports }: DraftService): string[] {
    const port = tcpPort(ports) ?? 22;
    return step('To let ssh knock by itself, on your own computer, in ~/.ssh/config', [
      `Host ${host}`,
      ...(port === 22 ? [] : [`  Port ${port}`]),
      '  ProxyCommand knockd-nft proxy %h %p',
    ]);
  }
}

/** The address at which the caller reaches this host; {@link UNNAMED} if we do not know it, since there may be a NAT. */
export function clientsWay(login: Login | undefined): string {
  if (!login) return UNNAMED;
  return isPublic(login.to) || !isPublic(login.from) ? formatAddress(login.to) : UNNAMED;
}

/** The command lines of this program for this configuration, and to try it. */
function commands({ place, config, isDefault, sudo }: Written): readonly [command: string, trial: string] {
  const command = `${sudo ? 'sudo ' : ''}knockd-nft${isDefault ? '' : ` --config ${shellWord(config)}`}`;
  return [command, `${command} try${place.candidate ? ` ${shellWord(place.path)}` : ''} --for 2m`];
}

/** With `--wait` it sends no token if the port is open already, as it is to an address that needs no knock. */
function knockWithToken({ entry, port }: Handout, always: boolean): string {
  return `knockd-nft knock ${entry}${port === undefined || always ? '' : ` --wait ${port}`}`;
}

function serviceText({ name, ports, sequence, token }: DraftService): string {
  const way = token ? `one-time tokens for ${token.user}` : `${sequence.length} knocks`;
  return `${name} (${ports.map(formatPortRange).join(', ')}) behind ${way}`;
}

function knockLine({ ports, sequence }: DraftService, host: string): string {
  const port = tcpPort(ports);
  const wait = port === undefined ? '' : ` --wait ${port}`;
  return `knockd-nft knock ${host} ${sequence.join(' ')}${wait}`;
}

/** An entry of {@link HOSTS}. */
function knocksEntry({ ports, sequence }: DraftService, host: string): string {
  const port = tcpPort(ports) ?? 22;
  return `{ ${JSON.stringify(host)}: { "knocks": [${sequence.join(', ')}], "port": ${port} } }`;
}

function loginLine({ ports }: DraftService, host: string): string {
  const port = tcpPort(ports);
  return `ssh ${port === undefined || port === 22 ? '' : `-p ${port} `}${host}`;
}

function bashLine(sequence: readonly number[], host: string): string {
  return `for port in ${sequence.join(' ')}; do timeout 0.2 bash -c "</dev/tcp/${host}/$port" 2>/dev/null; done`;
}

function tcpPort(ports: readonly PortRange[]): number | undefined {
  return ports.find(({ protocol }) => protocol === 'tcp')?.first;
}
