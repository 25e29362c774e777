/** For the test of doctor's mends: a person does what `doctor` says, while a stranger tries the guarded port. */
import { readFileSync, writeFileSync } from 'node:fs';
import type { Test } from 'tap';
import type { Finding, FindingId } from '../../src/doctor/finding.ts';
import type { Host } from '../kernel/host.ts';
import { ssh as patientSsh } from '../kernel/loaded.ts';
import type { Result } from '../kernel/process.ts';
import { createWorld, type World, type WorldOptions } from '../kernel/world.ts';
import { CONFIG, eventually, own, SERVER, STRANGER, status } from '../system/installed.ts';
import type { Lab } from '../system/lab.ts';
import { written } from './patient.ts';

/** A server to be examined, and a stranger before it. */
export interface Machine {
  /** Runs a script as root. The programs that a mend names are there. */
  sh(script: string): Promise<Result>;
  /** Put before the command of each later examination: `env X=y`. */
  before: string;
  /** The words after that command; none by default. */
  options: string;
  readonly configFile: string;
  /** Writes the configuration and checks that it is in force. */
  save(config: object | string): Promise<void>;
  readonly server: Host;
  /** The host that is let in, and also the stranger who never knocks. */
  readonly client: Host;
  /** Sends SYNs to a port from an address that never knocks. */
  flood(port: number): Promise<unknown>;
  /** Runs a script on the stranger's side. */
  strangerSh(script: string): Promise<Result>;
  /** The world; undefined under systemd. */
  readonly world: World | undefined;
}

export const ssh = patientSsh;
export const guarded = { closed: 'reject', services: { ssh } };

export interface Trial {
  /** A machine with systemd and our package, or a world of namespaces. */
  readonly on: 'systemd' | WorldOptions;
  /** {@link guarded} by default. */
  readonly config?: object;
  /** Makes something go wrong. */
  readonly trouble: (machine: Machine) => Promise<unknown>;
  /** Does what a mend says if that is not just a command or a line of the file. */
  readonly person?: (machine: Machine, mend: string) => Promise<unknown>;
  /** Set if strangers come in until it is mended, by port 22 by default. */
  readonly wasOpen?: true;
  readonly port?: number;
}

/** Programs that a world lacks, and our own, by the names that mends use. */
const SHIMS = {
  'knockd-nft': `exec ${process.execPath} ${process.cwd()}/dist/knockd-nft.cjs "$@"`,
  sudo: 'exec "$@"',
  sudoedit: 'test -f "$1"',
} as const;

export async function worldMachine(t: Test, options: WorldOptions): Promise<Machine> {
  const world = await createWorld(t, { clients: ['client', 'stranger'], ...options });
  const sh = (script: string) =>
    world.run('server', 'sh', ['-c', `PATH=/run/bin:$PATH; export PATH; ${script}`]);
  for (const [name, text] of Object.entries(SHIMS))
    await sh(
      `mkdir -p /run/bin; printf '%s\\n' '#!/bin/sh' '${text}' >/run/bin/${name}; chmod 755 /run/bin/${name}`,
    );
  const machine: Machine = {
    sh,
    before: '',
    options: `--config ${world.configFile}`,
    configFile: world.configFile,
    async save(config) {
      world.write(config);
      await succeed(machine, `knockd-nft --config ${world.configFile} load`);
    },
    server: world.host('server'),
    client: world.host('client'),
    flood: port =>
      world
        .host('stranger')
        .flood({ to: world.server.ipv4, knocks: [`${port}/tcp`], count: 100, rate: 2000 }),
    strangerSh: script => world.run('stranger', 'sh', ['-c', script]),
    world,
  };
  return machine;
}

export function labMachine(lab: Lab): Machine {
  const machine: Machine = {
    sh: script => lab.run('sh', ['-c', `PATH=/run/bin:$PATH; ${script}`]),
    before: '',
    options: '',
    configFile: CONFIG,
    async save(config) {
      writeFileSync(lab.path(CONFIG), typeof config === 'string' ? config : JSON.stringify(config));
      own(lab, CONFIG);
      await eventually(
        () => status(lab),
        ({ inSync }) => inSync === true,
      );
    },
    server: lab.server(),
    client: lab.client(),
    flood: port =>
      lab.client().flood({
        to: SERVER,
        knocks: [`${port}/tcp`],
        sources: { first: STRANGER, count: 1 },
        count: 100,
        rate: 2000,
      }),
    strangerSh: script => lab.run('ip', ['netns', 'exec', 'client', 'sh', '-c', script]),
    world: undefined,
  };
  return machine;
}

export async function succeed(machine: Pick<Machine, 'sh'>, script: string): Promise<string> {
  const { status, stdout, stderr } = await machine.sh(script);
  if (status !== 0) throw new Error(`${script}: ended with ${status}: ${stdout}${stderr}`);
  return stdout;
}

export async function examineMachine({ sh, before, options }: Machine): Promise<readonly Finding[]> {
  const { stdout, stderr } = await sh(`${before} knockd-nft ${options} doctor --json`);
  if (stdout === '') throw new Error(stderr);
  return (JSON.parse(stdout) as { findings: Finding[] }).findings;
}

/** Counts the SYN-ACKs that reach the stranger, in the stranger's own kernel. */
const WITNESS = `table inet witness {
	counter answers { }
	chain input {
		type filter hook prerouting priority raw
		tcp flags & (syn | ack) == (syn | ack) counter name answers
	}
}`;

async function answersWhile(machine: Machine, port: number, act: () => Promise<unknown>): Promise<number> {
  await machine.strangerSh(`nft -f - <<'END'\n${WITNESS}\nEND`);
  let over = false;
  const flooding = (async () => {
    while (!over) await machine.flood(port);
    await machine.flood(port); // one flood begins after the act
  })();
  try {
    await act();
  } finally {
    over = true;
    await flooding;
  }
  const { stdout } = await machine.strangerSh(
    'nft list counter inet witness answers; nft delete table inet witness',
  );
  const [, packets] = /packets (\d+)/.exec(stdout) ?? [];
  if (packets === undefined) throw new Error(`nobody counted: ${stdout}`);
  return Number(packets);
}

/** Types a mend. If it is for the configuration, writes it there and puts it in force. */
async function type(machine: Machine, { mend }: Finding): Promise<void> {
  const write = written({ mend }, file => readFileSync(file, 'utf8'));
  if (write) return machine.save(write.config);
  await succeed(machine, mend);
}

const worst = ({ severity }: Finding) => severity !== 'note';

export async function tryMend(t: Test, machine: Machine, id: FindingId, trial: Trial): Promise<void> {
  const { config = guarded, trouble, person, wasOpen, port = 22 } = trial;
  await machine.save(config);
  const before = await examineMachine(machine);
  await trouble(machine);
  const open = await answersWhile(machine, port, async () => {});
  t.equal(open > 0, wasOpen === true, `strangers come in meanwhile: ${open}`);
  const all = await examineMachine(machine);
  const found = all.filter(it => it.id === id);
  if (found.length === 0) throw new Error(`no ${id}: ${JSON.stringify(all)}`);
  for (const { what, why, mend } of found) t.ok(why !== '' && mend !== '', `${what}\n${mend}`);
  const act = async () => {
    for (const finding of found) await (person ? person(machine, finding.mend) : type(machine, finding));
  };
  if (wasOpen) await act();
  else t.equal(await answersWhile(machine, port, act), 0, 'not open for an instant');
  const known = new Set(before.map(it => it.id));
  const isWorse = (it: Finding) => worst(it) && !known.has(it.id);
  // a reload by systemd ends before the supervisor has finished
  const after = await eventually(
    () => examineMachine(machine),
    now => !now.some(it => it.id === id || isWorse(it)),
    30_000,
  );
  t.strictSame(
    after.filter(it => it.id === id),
    [],
    'the finding is gone',
  );
  t.strictSame(after.filter(isWorse), [], 'and nothing worse is there');
  t.equal(await answersWhile(machine, port, async () => {}), 0, 'closed to strangers');
}
