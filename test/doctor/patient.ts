/** The questions of the tests to `doctor`: its findings, and whether its mends work. */
import { readFileSync, writeFileSync } from 'node:fs';
import type { Finding } from '../../src/doctor/finding.ts';
import type { Reach } from '../kernel/host.ts';
import { type families, sshKnocks } from '../kernel/loaded.ts';
import type { KnockdOptions, World } from '../kernel/world.ts';

export interface Examination {
  readonly status: number;
  readonly findings: readonly Finding[];
  readonly checked: readonly string[];
}

export async function examine(world: World, options?: KnockdOptions): Promise<Examination> {
  const { status, stdout, stderr } = await world.knockd(['doctor', '--json'], options);
  if (stderr !== '') throw new Error(`doctor: ${stderr}`);
  return { status, ...(JSON.parse(stdout) as Omit<Examination, 'status'>) };
}

/** The finding of that name. Throws if there is none. */
export async function diagnosis(world: World, id: string): Promise<Finding> {
  const { findings } = await examine(world);
  const found = findings.find(finding => finding.id === id);
  if (!found) throw new Error(`no ${id} among ${JSON.stringify(findings)}`);
  return found;
}

export async function ids(world: World): Promise<string[]> {
  return (await examine(world)).findings.map(({ id }) => id);
}

/** All findings but notes, and the looks of guarded ports. */
export async function complaints(world: World): Promise<string[]> {
  const { findings } = await examine(world);
  return findings
    .filter(({ id, severity }) => severity !== 'note' && id !== 'stands-out')
    .map(({ id, what }) => `${id}: ${what}`);
}

/** `"KEY": VALUE  in PLACES in FILE`: the form of a mend for the configuration. */
const WRITE = /^"(\w+)": (.+?) {2}in (?:(\S+(?: and \S+)*) in )?(\S+)$/;

/** The file after that is written into it; undefined for a mend that is a command. */
export function written({ mend }: Pick<Finding, 'mend'>, read: (file: string) => string) {
  const [, key, value, places, file] = WRITE.exec(mend) ?? [];
  if (key === undefined || value === undefined || file === undefined) return undefined;
  const config = JSON.parse(read(file)) as object;
  const put = (object: object, [first, ...rest]: readonly string[]): object => {
    if (first === undefined) return { ...object, [key]: JSON.parse(value) as unknown };
    const inner = Object.entries(object).find(([name]) => name === first)?.[1] as object | undefined;
    return { ...object, [first]: put(inner ?? {}, rest) };
  };
  const objects = places === undefined ? [''] : places.split(' and ');
  const paths = objects.map(place => place.split('.').filter(Boolean));
  return { file, config: paths.reduce(put, config) };
}

/** Does exactly what a finding says. A mend for the configuration is written there and loaded. */
export async function follow(world: World, finding: Finding): Promise<void> {
  const { mend } = finding;
  const write = written(finding, file => readFileSync(file, 'utf8'));
  if (write === undefined) {
    const { status, stderr } = await world.run('server', 'sh', ['-c', mend]);
    if (status !== 0) throw new Error(`${mend}: ended with ${status}: ${stderr}`);
    return;
  }
  writeFileSync(write.file, JSON.stringify(write.config));
  const { status, stderr } = await world.knockd(['load']);
  if (status !== 0) throw new Error(`load: ${stderr}`);
}

/** The look of a port to a client after it knocked. */
export async function knockAndConnect(
  world: World,
  family: (typeof families)[number],
  port = 22,
): Promise<Reach> {
  const client = world.host('client');
  await client.knock(world.server[family], sshKnocks);
  return client.connect(world.server[family], port);
}
