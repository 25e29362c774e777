/** A lab with our package in it, and what the tests ask of it. */
import {
  chmodSync,
  chownSync,
  copyFileSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import type { Test } from 'tap';
import type { Status } from '../../src/ruleset/status.ts';
import { VERSION } from '../../src/version.ts';
import { HUNG, type Result, type Running, run } from '../kernel/process.ts';
import { createLab, type Lab } from './lab.ts';

export const CONFIG = '/etc/knockd-nft.json';
export const SERVER = '10.77.0.1';
export const CLIENT = '10.77.0.2';
/** An address of the client host that never knocks. */
export const STRANGER = '10.77.0.3';

export const ssh = { ports: [22], sequence: [10000, 2345, 3456, 1234] } as const;
export const sshKnocks = ['10000/tcp', '2345/tcp', '3456/tcp', '1234/tcp'] as const;

/** Runs a command in the lab. If it fails, throws the command's own words. */
export async function succeed(lab: Lab, command: string, ...args: readonly string[]): Promise<string> {
  const { status, stdout, stderr } = await lab.run(command, args);
  if (status !== 0) throw new Error(`${command} ${args.join(' ')} ended with ${status}: ${stdout}${stderr}`);
  return stdout;
}

const ARCHITECTURES = {
  deb: { x64: 'amd64', arm64: 'arm64' },
  rpm: { x64: 'x86_64', arm64: 'aarch64' },
  tarball: { x64: 'x86_64', arm64: 'aarch64' },
} as const;

/** Makes the package for this machine's architecture and puts it into the lab. Returns its path there. */
export async function makePackage(
  lab: Lab,
  version: string,
  kind: keyof typeof ARCHITECTURES = 'deb',
): Promise<string> {
  const folder = mkdtempSync(join(tmpdir(), 'knockd-nft-test-'));
  try {
    const arch = ARCHITECTURES[kind][process.arch === 'arm64' ? 'arm64' : 'x64'];
    const options = ['--arch', arch, '--version', version, '--out', folder, '--fast'];
    const made = await run([process.execPath, 'scripts/package.mjs', kind, ...options], {
      timeout: HUNG,
    });
    const [name] = readdirSync(folder);
    if (made.status !== 0 || !name) throw new Error(`no package was made: ${made.stdout}${made.stderr}`);
    const path = `/var/cache/${name}`;
    copyFileSync(join(folder, name), lab.path(path));
    return path;
  } finally {
    rmSync(folder, { recursive: true });
  }
}

/** Installs or upgrades. */
export function install(lab: Lab, file: string): Promise<string> {
  return succeed(lab, 'dpkg', '--install', file);
}

/** A new lab with the package, which has started itself, and two addresses for the client. */
export async function installedLab(t: Pick<Test, 'teardown'>): Promise<Lab> {
  const lab = await createLab(t);
  await install(lab, await makePackage(lab, VERSION));
  await addStranger(lab);
  return lab;
}

/** Adds the stranger's address. Needed again after a reboot. */
export async function addStranger(lab: Lab): Promise<void> {
  await succeed(lab, 'ip', '-n', 'client', 'addr', 'add', `${STRANGER}/24`, 'dev', 'eth0');
}

/** Gives a file of the lab the owner and the mode of the configuration. */
export function own(lab: Lab, file: string): void {
  const group = readFileSync(lab.path('/etc/group'), 'utf8').match(/^knockd-nft:[^:]*:(\d+):/m)?.[1];
  chownSync(lab.path(file), 0, Number(group));
  chmodSync(lab.path(file), 0o640);
}

/** Saves the configuration in place. */
export function write(lab: Lab, config: object | string, file = CONFIG): void {
  writeFileSync(lab.path(file), typeof config === 'string' ? config : JSON.stringify(config));
  own(lab, file);
}

export async function status(lab: Lab): Promise<Status> {
  return JSON.parse(await succeed(lab, 'knockd-nft', 'status', '--json')) as Status;
}

/** The lines that the supervisor, and systemd about it, write from now on. */
export async function follow(lab: Lab, unit = 'knockd-nft'): Promise<Running> {
  await succeed(lab, 'journalctl', '--sync');
  const last = await succeed(lab, 'journalctl', '--lines=1', '--quiet', '--show-cursor');
  const cursor = last.match(/^-- cursor: (.*)$/m)?.[1] ?? '';
  return lab.start('journalctl', ['--follow', `--after-cursor=${cursor}`, '--output=cat', '--unit', unit]);
}

/** A property of a unit, as systemd has it now. */
export async function property(lab: Lab, name: string, unit = 'knockd-nft.service'): Promise<string> {
  return (await succeed(lab, 'systemctl', 'show', '--value', '--property', name, unit)).trim();
}

/** Asks until the answer is as wanted, for at most `timeout` milliseconds. Returns the last answer. */
export async function eventually<T>(
  ask: () => Promise<T>,
  wanted: (answer: T) => boolean,
  timeout = HUNG,
): Promise<T> {
  const end = Date.now() + timeout;
  for (;;) {
    const answer = await ask();
    if (wanted(answer) || Date.now() > end) return answer;
    await delay(50);
  }
}

export function text({ stdout, stderr }: Result): string {
  return `${stdout}${stderr}`;
}
