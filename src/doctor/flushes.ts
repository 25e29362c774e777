import { spawnSync } from 'node:child_process';
import { readOr } from '../host/proc.ts';

/** A unit of systemd that empties the whole ruleset, and our table with it. */
export interface Flush {
  /** `nftables.service` */
  readonly unit: string;
  /** When it stops, and so when it restarts; or when it starts or reloads, because `file` begins with a flush. */
  readonly when: 'it is stopped' | 'it loads';
  /** The script for nft that it loads; undefined if there is none. */
  readonly file: string | undefined;
  /** The tables that this script makes: `inet filter`; none if it includes other scripts. */
  readonly tables: readonly string[];
}

/** The words of a unit's commands as systemd has them, including drop-ins. */
interface UnitCommands {
  readonly unit: string;
  readonly loads: readonly string[];
  readonly stops: readonly string[];
}

const TIMEOUT = 10_000;
const PROPERTIES = 'Id,UnitFileState,ActiveState,ExecStart,ExecReload,ExecStop,ExecStopPost';

/** The flushes by units that are enabled or running. */
export function readFlushes(): readonly Flush[] {
  const { stdout } = spawnSync('systemctl', ['show', '--property', PROPERTIES, '*.service'], {
    encoding: 'utf8',
    timeout: TIMEOUT,
    maxBuffer: 1 << 26,
    env: { ...process.env, SYSTEMD_PAGER: '', LC_ALL: 'C' },
  });
  return unitsOf(stdout ?? '').flatMap(unit => flushesOf(unit, path => readOr(path, '')));
}

/** Reads the output of `systemctl show`. An empty line separates units, and each command is one line. */
export function unitsOf(shown: string): readonly UnitCommands[] {
  return shown.split(/\n\n+/).flatMap(text => {
    const lines = text.split('\n').map((line): [string, string] => {
      const [name = '', value = ''] = line.split(/=(.*)/s);
      return [name, value];
    });
    const value = (name: string) => lines.find(it => it[0] === name)?.[1] ?? '';
    const commands = (...names: readonly string[]) =>
      lines.flatMap(([name, text]) =>
        names.includes(name) ? (/ argv\[\]=(.*?) ; ignore_errors=/.exec(text)?.[1] ?? []) : [],
      );
    const matters = value('UnitFileState').startsWith('enabled') || value('ActiveState') === 'active';
    if (!matters || value('Id') === '') return [];
    return [
      {
        unit: value('Id'),
        loads: commands('ExecStart', 'ExecReload'),
        stops: commands('ExecStop', 'ExecStopPost'),
      },
    ];
  });
}

/** `read` returns the text of a file, '' if there is none. */
export function flushesOf({ unit, loads, stops }: UnitCommands, read: (path: string) => string): Flush[] {
  const scripts = loads.flatMap(scriptOf);
  const tables = [...new Set(scripts.flatMap(path => tablesOf(read(path))))];
  const found: Flush[] = [];
  for (const file of new Set(scripts))
    if (flushesAll(read(file))) found.push({ unit, when: 'it loads', file, tables: tablesOf(read(file)) });
  const emptied = stops.some(
    command =>
      /\bnft\b.*\bflush\s+ruleset\b/.test(command) || scriptOf(command).some(it => flushesAll(read(it))),
  );
  if (emptied) found.push({ unit, when: 'it is stopped', file: scripts[0], tables });
  return found;
}

/** The script that a command gives to nft. */
function scriptOf(command: string): readonly string[] {
  const path = /(?:^|\/)nft\b.*\s(?:-f|--file)[= ]?(\/\S+)/.exec(command)?.[1];
  return path === undefined ? [] : [path];
}

function flushesAll(script: string): boolean {
  return /^\s*flush\s+ruleset\b/m.test(script);
}

/** The tables that a script makes; none if it includes other scripts, since we do not know theirs. */
function tablesOf(script: string): readonly string[] {
  if (/^\s*include\b/m.test(script)) return [];
  const tables = script.matchAll(/^\s*(?:add\s+)?table\s+(?:(inet|ip|ip6|arp|bridge|netdev)\s+)?([\w-]+)/gm);
  return [...new Set([...tables].map(([, family = 'ip', name]) => `${family} ${name}`))];
}
