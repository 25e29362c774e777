/** A machine that is emulated: any kernel runs there, and no privileges are needed. */
import { spawn } from 'node:child_process';
import { readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createInterface } from 'node:readline';
import { environment } from '../kernel/process.ts';
import type { Architecture } from './debian.ts';

/** The emulator of an architecture, and where the guest's console is. */
export const MACHINES: Readonly<
  Record<
    Architecture,
    { readonly qemu: string; readonly options: readonly string[]; readonly console: string }
  >
> = {
  amd64: { qemu: 'qemu-system-x86_64', options: ['-cpu', 'max'], console: 'ttyS0' },
  arm64: {
    qemu: 'qemu-system-aarch64',
    options: ['-machine', 'virt', '-cpu', 'cortex-a72'],
    console: 'ttyAMA0',
  },
};

/** A check that a guest has done. */
export interface Check {
  readonly name: string;
  readonly is: 'passed' | 'failed' | 'skipped';
  /** Why it was skipped, or what failed. */
  readonly why: string;
}

export interface Visit {
  /** The versions that programs of the guest say. */
  readonly versions: Readonly<Record<'node' | 'nft', string>>;
  readonly checks: readonly Check[];
  /** Why there are no more; undefined if all were done. */
  readonly broken: string | undefined;
  /** Seconds. */
  readonly took: number;
}

/** The longest that a guest may take, in seconds. */
const LIMIT = 1800;

const PARAMETERS = 'panic=-1 quiet loglevel=3 mitigations=off random.trust_cpu=on no_console_suspend';

/** Boots a kernel with its first root of these parts, and hands on each check as soon as it is done. */
export async function visit(
  architecture: Architecture,
  image: string,
  parts: readonly string[],
  onCheck: (check: Check) => void,
): Promise<Visit> {
  const begun = performance.now();
  const root = `${image}.root`;
  writeFileSync(root, Buffer.concat(parts.map(part => readFileSync(part)))); // the kernel takes one archive after the other
  const machine = MACHINES[architecture];
  const command = [
    ...[...machine.options, '-accel', 'tcg,thread=multi', '-smp', '2', '-m', '2048'],
    ...['-nodefaults', '-nographic', '-no-reboot', '-serial', 'stdio'],
    ...['-kernel', image, '-initrd', root, '-append', `console=${machine.console} ${PARAMETERS}`],
  ];
  const options = { env: environment, timeout: LIMIT * 1000, killSignal: 'SIGKILL' } as const;
  const qemu = spawn(machine.qemu, command, { ...options, stdio: ['ignore', 'pipe', 'pipe'] });
  const lines: string[] = [];
  const checks: Check[] = [];
  let open: { check: Check; said: string[] } | undefined;
  const settle = () => {
    if (!open) return;
    const check = { ...open.check, why: open.check.why || open.said.join('\n') };
    checks.push(check);
    onCheck(check);
    open = undefined;
  };
  const versions = { node: '', nft: '' };
  let ended: number | undefined;
  const onLine = (line: string) => {
    lines.push(line);
    const [, program, version = ''] = /^# (node|nft) \D*([\d.]+)/.exec(line) ?? [];
    if (program === 'node' || program === 'nft') versions[program] = version;
    const [, not, name = '', reason] = /^(not )?ok \d+ - (.*?)(?: # SKIP ?(.*))?$/.exec(line) ?? [];
    if (name) {
      settle();
      const is = reason !== undefined ? 'skipped' : not ? 'failed' : 'passed';
      open = { check: { name, is, why: reason ?? '' }, said: [] };
    } else if (open?.check.is === 'failed' && /^ {2}/.test(line)) open.said.push(line);
    if (/^ {2}\.\.\.$/.test(line)) settle();
    const [, status] = /^# ended with (\d+)$/.exec(line) ?? [];
    if (status) ended = Number(status);
  };
  for (const stream of [qemu.stdout, qemu.stderr])
    createInterface({ input: stream }).on('line', line => onLine(line.replace(/\r/g, '')));
  const end = await new Promise<string>(resolve => {
    qemu.once('error', error => resolve(error.message));
    qemu.once('close', (status, signal) =>
      resolve(signal ? `it did not end within ${LIMIT} s` : `qemu ended with ${status}`),
    );
  });
  settle();
  rmSync(root);
  const took = Math.round((performance.now() - begun) / 1000);
  // node's runner ends with 1 if a check failed, which is reported already
  const isWhole = ended === 0 || (ended === 1 && checks.some(({ is }) => is === 'failed'));
  const last = lines.slice(-20).join('\n');
  return {
    versions,
    checks,
    broken: isWhole ? undefined : `${end}; the last of its console:\n${last}`,
    took,
  };
}
