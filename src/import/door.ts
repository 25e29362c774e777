import { formatDuration } from '../inet/duration.ts';
import { formatPortRange, mergePortRanges, type Port, type PortRange, readPort } from '../inet/port.ts';
import { readCommandLine } from './command.ts';
import type { Opening, PortNames } from './effect.ts';
import { atoi, type Section } from './knockd-conf.ts';

/** Something that people should know about a line of knockd.conf. */
export interface Note {
  /** Counts from 1. */
  readonly line: number;
  /** The door; null for a note about the whole file. */
  readonly door: string | null;
  /** The difference, and what to do about it. It never contains a sequence. */
  readonly message: string;
}

/** A door that can be a service. Times are in milliseconds. */
export interface Door {
  readonly name: string;
  readonly line: number;
  readonly knocks: readonly Port[];
  readonly knocksLine: number;
  readonly ports: readonly PortRange[];
  readonly portsLine: number;
  readonly knockTimeout: number;
  readonly openFor: number;
  /** Whether knockd leaves it open. `openFor` is then the time that knockd would wait, if it waited. */
  readonly endless: boolean;
}

type Tell = (line: number, message: string) => void;

// knockd.c
const SEQ_TIMEOUT = 25;
const CMD_TIMEOUT = 10;
const SEQ_MAX = 32;
/** The longest time that the configuration allows, in seconds. */
const LONGEST = 365 * 86_400;

/** Makes a service of a door; undefined if that is impossible. Reports losses and differences. */
export function readDoor(section: Section, names: PortNames, tell: Tell): Door | undefined {
  const { name, line, settings } = section;
  const command = readCommands(section, names, tell);
  if (command === undefined) return undefined;
  const knocks = readSequence(section, tell);
  if (knocks === undefined) return undefined;
  tellFlags(section, tell);
  const target = settings.get('target');
  if (target)
    tell(
      target.line,
      'Target: knocks to all addresses of this host count here; those to other hosts are not seen',
    );
  return {
    ...{ name, line, knocks, knocksLine: settings.get('sequence')?.line ?? line },
    ...{ ports: mergePortRanges(command.opening.ports), portsLine: command.line },
    knockTimeout: readKnockTimeout(section, tell),
    ...readOpenFor(section, command, names, tell),
  };
}

interface Command {
  readonly line: number;
  readonly opening: Opening;
}

/** The ports that the door opens: by its command for IPv4, or else by the one for IPv6. */
function readCommands({ line, settings }: Section, names: PortNames, tell: Tell): Command | undefined {
  const given = [settings.get('start_command'), settings.get('start_command_6')].filter(
    it => it && it.value !== '',
  );
  const [first] = given;
  if (!first) {
    tell(line, 'not carried over: it runs no command, so it opens nothing');
    return undefined;
  }
  const { opening, closes, notes } = readCommandLine(first.value, names);
  if (!opening && closes) {
    tell(first.line, 'not carried over: it closes what another door opens; here an opening ends by itself');
    return undefined;
  }
  for (const note of notes) tell(first.line, opening ? `left out: ${note}` : `not carried over: ${note}`);
  if (!opening) {
    if (notes.length === 0) tell(first.line, 'not carried over: its command opens nothing');
    return undefined;
  }
  for (const note of opening.notes) tell(first.line, note);
  tellSixth(settings, opening, names, tell);
  return { line: first.line, opening };
}

/** knockd runs the other command for IPv6. Here one service is for both. */
function tellSixth(settings: Section['settings'], opening: Opening, names: PortNames, tell: Tell): void {
  const sixth = settings.get('start_command_6');
  const fourth = settings.get('start_command');
  if (!sixth) return;
  if (sixth.value === '')
    tell(sixth.line, 'Start_Command_6: clients that knock by IPv6 are let in here, too');
  else if (!fourth || fourth.value === '')
    tell(sixth.line, 'Start_Command_6: clients that knock by IPv4 are let in here, too');
  else {
    const ports = readCommandLine(sixth.value, names).opening?.ports ?? [];
    if (portsText(ports) !== portsText(opening.ports))
      tell(
        sixth.line,
        `Start_Command_6 does not open the same as line ${fourth.line}, which counts here for IPv6, too`,
      );
  }
}

function portsText(ports: readonly PortRange[]): string {
  return mergePortRanges(ports).map(formatPortRange).join();
}

function readSequence({ line, settings }: Section, tell: Tell): readonly Port[] | undefined {
  const once = settings.get('one_time_sequences');
  const written = settings.get('sequence');
  if (once) {
    tell(
      once.line,
      'not carried over: One_Time_Sequences: a sequence stays here until you change it; choose one, and write the service by hand',
    );
    return undefined;
  }
  if (!written) {
    tell(line, 'not carried over: there is no Sequence');
    return undefined;
  }
  const parts = written.value.split(',');
  if (parts.length > SEQ_MAX) {
    tell(written.line, `not carried over: a sequence has at most ${SEQ_MAX} knocks`);
    return undefined;
  }
  const knocks: Port[] = [];
  for (const [index, part] of parts.entries()) {
    const [port = '', ...protocol] = part.split(':');
    const knock = readPort(`${atoi(port)}/${(protocol.join(':') || 'tcp').trim().toLowerCase()}`);
    if (!knock.ok) {
      tell(written.line, `not carried over: knock ${index + 1} is no port`);
      return undefined;
    }
    if (!/^\s*\+?\d+\s*$/.test(port))
      tell(
        written.line,
        `knock ${index + 1} has more than a port, which knockd ignores: left out here, too; separate knocks by commas, and a protocol by a colon`,
      );
    knocks.push(knock.value);
  }
  return knocks;
}

/** Reports flags other than SYN, because knocks are SYNs here. */
function tellFlags({ settings }: Section, tell: Tell): void {
  const flags = settings.get('tcpflags');
  if (!flags) return;
  const wanted = flags.value.toLowerCase().split(',');
  const others = wanted.filter(flag => !flag.startsWith('!') && flag !== 'syn');
  if (others.length > 0 || wanted.includes('!syn') || !wanted.includes('syn'))
    tell(
      flags.line,
      'TCPFlags: a TCP knock is a SYN here, and no other packet: clients must knock with SYNs',
    );
}

function readKnockTimeout({ settings, line }: Section, tell: Tell): number {
  const written = settings.get('seq_timeout');
  const seconds = written === undefined ? SEQ_TIMEOUT : atoi(written.value);
  const time = clamp(seconds, 1, LONGEST) * 1000;
  if (seconds * 1000 !== time)
    tell(
      written?.line ?? line,
      `Seq_Timeout: knockd would ${seconds < 1 ? 'never open this door' : 'wait longer'}; here it is ${formatDuration(time)}`,
    );
  else if (written)
    tell(
      written.line,
      `Seq_Timeout was for the whole sequence; here ${formatDuration(time)} is the longest pause between two knocks`,
    );
  return time;
}

function readOpenFor(
  { settings }: Section,
  { line, opening }: Command,
  names: PortNames,
  tell: Tell,
): Pick<Door, 'openFor' | 'endless'> {
  const stop = settings.get('stop_command');
  const written = settings.get('cmd_timeout');
  const seconds = written === undefined ? CMD_TIMEOUT : atoi(written.value);
  const openFor = clamp(seconds, 1, LONGEST) * 1000;
  const stops = stop !== undefined && stop.value !== '';
  if (stops && !readCommandLine(stop.value, names).closes)
    tell(stop.line, 'Stop_Command is not run; the opening ends by itself');
  if (!stops && opening.time !== undefined) {
    if (written) tell(written.line, 'Cmd_Timeout: left out, since the command itself says how long it opens');
    return { openFor: clamp(opening.time, 1000, LONGEST * 1000), endless: false };
  }
  if (seconds * 1000 !== openFor)
    tell(written?.line ?? line, `Cmd_Timeout: here it is ${formatDuration(openFor)}`);
  if (!stops && written)
    tell(
      written.line,
      `Cmd_Timeout without a Stop_Command: in knockd the door stays open; here it closes after ${formatDuration(openFor)} ("openFor"), and connections stay`,
    );
  return { openFor, endless: !stops && !written };
}

function clamp(value: number, least: number, most: number): number {
  return Math.min(Math.max(value, least), most);
}
