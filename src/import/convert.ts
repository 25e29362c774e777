import { interfaceName } from '../config/names.ts';
import { quote, Report } from '../config/report.ts';
import type { Json } from '../config/shape.ts';
import { formatDuration } from '../inet/duration.ts';
import { writtenPort, writtenPortRange } from '../inet/port.ts';
import { type Door, type Note, readDoor } from './door.ts';
import type { PortNames } from './effect.ts';
import type { KnockdConf } from './knockd-conf.ts';
import { combineDoors, type Imported } from './services.ts';

/** The result for a knockd.conf. */
export interface Conversion {
  /** The text, with comments that name the doors; undefined if no door could be carried over. */
  readonly text: string | undefined;
  /** The same as values. */
  readonly configuration: { readonly [key: string]: Json } | undefined;
  /** Sorted by line. */
  readonly notes: readonly Note[];
  readonly services: readonly Imported[];
}

/** Turns knockd.conf into a configuration; `file` is its name, for a comment. */
export function convert(conf: KnockdConf, file: string, names: PortNames): Conversion {
  const notes: Note[] = conf.unknown.map(note => ({ ...note, door: null }));
  const tellOf = (door: string | null) => (line: number, message: string) =>
    void notes.push({ line, door, message });
  const interfaces = readOptions(conf, tellOf(null));
  const doors = conf.doors.map(section => readDoor(section, names, tellOf(section.name)));
  const read = doors.filter(door => door !== undefined);
  const services = combineDoors(read, (door, line, message) => tellOf(door.name)(line, message));
  if (conf.doors.length === 0) tellOf(null)(1, 'there is no door, so there is nothing to carry over');
  const done = services.length > 0;
  return {
    text: done ? configurationText(services, interfaces, file) : undefined,
    configuration: done ? configurationValue(services, interfaces) : undefined,
    notes: notes.toSorted((a, b) => a.line - b.line),
    services,
  };
}

/** Reports the differences, and returns "interfaces". */
function readOptions(
  { options }: KnockdConf,
  tell: (line: number, message: string) => void,
): readonly string[] {
  const { settings } = options;
  const [syslog, log, pid, device] = ['usesyslog', 'logfile', 'pidfile', 'interface'].map(it =>
    settings.get(it),
  );
  if (syslog) tell(syslog.line, 'UseSyslog: events are in the journal: journalctl -u knockd-nft');
  if (log) tell(log.line, 'LogFile: events are in the journal, not in a file: journalctl -u knockd-nft');
  if (pid) tell(pid.line, 'PidFile: there is none: systemctl status knockd-nft');
  if (!device) return [];
  const at = { line: device.line, column: 1 };
  const name = interfaceName.read({ kind: 'string', at, value: device.value }, new Report(''), '');
  if (name === undefined || name === 'any') {
    tell(device.line, 'Interface: knocks count on every interface');
    return [];
  }
  tell(
    device.line,
    `Interface: knocks count and ports are guarded only on ${name}; without "interfaces" on all`,
  );
  return [name];
}

function configurationText(
  services: readonly Imported[],
  interfaces: readonly string[],
  file: string,
): string {
  return [
    `// Made from ${quote(file)} by "knockd-nft import". It holds secrets: chmod 640.`,
    '{',
    '  "services": {',
    ...services.flatMap(service => [
      ...service.doors.map(({ door }) => `    // ${quote(`[${door.name}]`)}, line ${door.line}`),
      `    ${JSON.stringify(service.name)}: {`,
      ...Object.entries(serviceValue(service)).map(([key, value]) => `      "${key}": ${valueText(value)},`),
      '    },',
    ]),
    '  },',
    ...(interfaces.length > 0 ? [`  "interfaces": ${valueText([...interfaces])},`] : []),
    '}',
  ].join('\n');
}

/** A value on one line: `[7000, "8000/udp"]`, `{ "alice": [1, 2] }`. */
function valueText(value: Json): string {
  if (Array.isArray(value)) return `[${value.map(valueText).join(', ')}]`;
  if (typeof value === 'object' && value !== null)
    return `{ ${Object.entries(value)
      .map(([key, it]) => `${JSON.stringify(key)}: ${valueText(it)}`)
      .join(', ')} }`;
  return JSON.stringify(value);
}

function configurationValue(
  services: readonly Imported[],
  interfaces: readonly string[],
): { readonly [key: string]: Json } {
  return {
    services: Object.fromEntries(services.map(service => [service.name, serviceValue(service)])),
    ...(interfaces.length > 0 ? { interfaces } : {}),
  };
}

function serviceValue({ ports, doors, knockTimeout, openFor }: Imported): { readonly [key: string]: Json } {
  const [only, ...others] = doors;
  const sequences =
    only && others.length === 0
      ? { sequence: knocksValue(only.door) }
      : { sequences: Object.fromEntries(doors.map(({ user, door }) => [user, knocksValue(door)])) };
  return {
    ports: ports.map(writtenPortRange),
    ...sequences,
    knockTimeout: formatDuration(knockTimeout),
    openFor: formatDuration(openFor),
  };
}

function knocksValue({ knocks }: Door): Json {
  return knocks.map(writtenPort);
}
