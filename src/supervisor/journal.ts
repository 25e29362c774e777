import { fstatSync } from 'node:fs';
import { pino } from 'pino';
import { readSettings } from '../config/settings.ts';
import type { Log } from '../config/types.ts';
import type { EventName, Fields, Told } from '../events/event.ts';
import { harmless } from '../terminal/harmless.ts';

type Level = 'info' | 'warn' | 'error';

export interface Journal {
  /** One line for one event, with its fields. `message` is for people, and begins with the event's word. */
  readonly tell: (event: EventName, message: string, fields?: Fields, level?: Level) => void;
  /** A line that is no event. */
  readonly note: (level: Level, message: string) => void;
}

/** Priorities of syslog(3), which journald takes from `<N>` at the beginning of a line. */
const PRIORITIES = new Map([
  [20, 7],
  [30, 6],
  [40, 4],
  [50, 3],
  [60, 2],
]);

/** The most bytes that may wait for a reader of standard error that does not read. Lines beyond that are lost. */
const MOST_WAITING = 1024 * 1024;

function write(line: string): void {
  if (process.stderr.writableLength < MOST_WAITING) process.stderr.write(line);
}

/** A journal on standard error, as lines of text or of JSON. `heard` gets each event, even one that is not written. */
export function openJournal(
  log: Pick<Log, 'level' | 'format'>,
  env: NodeJS.ProcessEnv,
  heard: (told: Told) => void,
): Journal {
  const journald = isJournal(env);
  const text =
    log.format === 'text' || (log.format === 'auto' && (journald || process.stderr.isTTY === true));
  const logger = pino(
    { level: log.level, base: null },
    { write: line => write(`${harmless(text ? textLine(line, journald) : line.trimEnd())}\n`) },
  );
  return {
    tell: (event, msg, fields = {}, level = 'info') => {
      logger[level]({ ...fields, event }, msg);
      heard({ level: logger.levels.values[level] ?? 0, time: Date.now(), ...fields, event, msg });
    },
    note: (level, message) => logger[level](message),
  };
}

/** Whether standard error is journald's socket, which $JOURNAL_STREAM names by device and inode. */
function isJournal({ JOURNAL_STREAM }: NodeJS.ProcessEnv): boolean {
  try {
    const { dev, ino } = fstatSync(2);
    return JOURNAL_STREAM === `${dev}:${ino}`;
  } catch {
    return false;
  }
}

/** pino's line of JSON as `message key=value …`. */
function textLine(line: string, journald: boolean): string {
  const { level, time, msg, ...fields } = JSON.parse(line) as Record<string, unknown>;
  const pairs = Object.entries(fields).flatMap(([key, value]) =>
    value === null || value === undefined ? [] : [`${key}=${valueText(key, value)}`],
  );
  const priority = journald ? `<${PRIORITIES.get(Number(level)) ?? 6}>` : '';
  return `${priority}${[msg, ...pairs].join(' ').replaceAll('\n', ' ')}`;
}

/** Durations are seconds in JSON and `10s` in text; words with spaces are quoted. */
function valueText(key: string, value: unknown): string {
  if (key === 'openFor') return `${value}s`;
  const text = String(value);
  return /^[^\s"=]+$/.test(text) ? text : JSON.stringify(text);
}

/** The settings of the environment, until a file was read. */
export function logOf(env: NodeJS.ProcessEnv): Pick<Log, 'level' | 'format'> {
  const { settings, problems } = readSettings({}, env);
  return problems.length === 0 ? settings.log : { level: 'info', format: 'auto' };
}
