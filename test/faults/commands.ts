/** Commands that change something, or say something that must be true, each with the state that it starts from. */
import { chmodSync, mkdirSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import type { World } from '../kernel/world.ts';

export type Env = { readonly RUNTIME_DIRECTORY: string; readonly STATE_DIRECTORY: string };

/** Among the words of a command: the id of the trial that is under way. */
export const TRIAL = 'TRIAL';

export interface Command {
  readonly words: readonly string[];
  /** Makes the state that the command starts from. */
  readonly prepare: (world: World, env: Env) => Promise<void>;
  /** It makes secrets or sequences by chance, so each run ends in other rules: those of its file. */
  readonly chance?: true;
  /** Its file fits the host, as far as that can be seen: a whole file may say something else. */
  readonly fits?: true;
  /** It only looks, or prints. */
  readonly looks?: true;
  /** Nobody may be there to read what it prints. */
  readonly unheard?: true;
  /** Clients that it takes out. */
  readonly out?: readonly string[];
  /** Files that it may leave beside those of a run without faults: copies of what it replaced. */
  readonly copies?: RegExp;
}

const alice = [10000, 2345, 3456, 1234];
const bob = 'b0'.repeat(32);

export const ssh = {
  ports: [22],
  sequences: { alice },
  tokens: { bob, carol: { file: 'carol' } },
  openFor: '1h',
};
const web = { ports: [443], sequence: [7001, 7003, 7005], openFor: '1h' };
export const before = { services: { ssh }, token: { hours: 1 } };
const after = {
  services: { ssh: { ...ssh, sequences: { alice: [11000, 2345, 3456, 1234] } }, web },
  token: { hours: 1 },
};

/** Runs our program, which has to succeed. */
export async function done(world: World, env: Env, words: readonly string[]): Promise<string> {
  const { status, stdout, stderr } = await world.knockd(words, { env });
  if (status !== 0) throw new Error(`${words.join(' ')} ended with ${status}: ${stdout}${stderr}`);
  return stdout;
}

function writeSecret(world: World): void {
  const path = join(dirname(world.configFile), 'carol');
  writeFileSync(path, `${'ca'.repeat(32)}\n`);
  chmodSync(path, 0o600);
}

/** The file is loaded, and a client is in. */
async function loaded(world: World, env: Env): Promise<void> {
  writeSecret(world);
  world.write(before);
  await done(world, env, ['load']);
  await world.nft('add element inet knockd ssh_clients_ipv4 { 10.1.0.1 timeout 10h }'); // sooner than by grant
}

const then =
  (config: object): Command['prepare'] =>
  async (world, env) => {
    await loaded(world, env);
    world.write(config);
  };

function writeCandidate(world: World): void {
  writeFileSync(`${world.configFile}.new`, JSON.stringify(after), { mode: 0o600 });
}

/** A trial is under way, and nobody looks after it. */
async function tried(world: World, env: Env, time = '10h'): Promise<void> {
  await loaded(world, env);
  writeCandidate(world);
  const words = ['dist/knockd-nft.cjs', '--config', world.configFile, 'try', `${world.configFile}.new`];
  const trial = world.start('server', 'setsid', [process.execPath, ...words, '--for', time], env);
  await trial.line(/is undone at/);
  await world.run('server', 'kill', ['-KILL', ...(await processes(world))]);
  await trial.ended;
}

async function knockdConf(world: World): Promise<void> {
  world.write(before);
  const text =
    '[ssh]\n sequence = 7000,8000,9000\n seq_timeout = 5\n start_command = /sbin/iptables -I INPUT -s %IP% -p tcp --dport 22 -j ACCEPT\n';
  writeFileSync(join(dirname(world.configFile), 'knockd.conf'), text);
}

/** The ids of programs of ours on the server, and of the shells that start them again. */
export async function processes(world: World): Promise<readonly string[]> {
  const { stdout } = await world.run('server', 'pgrep', [
    '--full',
    `dist/knockd-nft.cjs --config ${world.configFile}`,
  ]);
  return stdout.split('\n').filter(Boolean);
}

const nothing = async (): Promise<void> => {};
/** Without it, the program asks for the host's address, and no name server answers in the world. */
const HOST = ['--host', '192.0.2.1'];
const looks = (...words: readonly string[]): Command => ({ words, prepare: loaded, looks: true });

/** The commands for a world, by what they are called in tests. */
export function commands(folder: string): Readonly<Record<string, Command>> {
  return {
    'load, the first time': {
      words: ['load'],
      prepare: async world => {
        writeSecret(world);
        world.write(before);
      },
    },
    'load of a changed file': { words: ['load'], prepare: then(after) },
    'load of another table': { words: ['load'], prepare: then({ ...before, table: 'other' }) },
    'load of another policy': { words: ['load'], prepare: then({ ...before, policy: 'drop' }) },
    unload: { words: ['unload'], prepare: loaded, out: ['ssh_clients_ipv4 10.1.0.1'] },
    grant: { words: ['grant', 'ssh', '10.2.0.1', '--for', '10h'], prepare: loaded },
    revoke: {
      words: ['revoke', 'ssh', '10.1.0.1'],
      prepare: loaded,
      out: ['ssh_clients_ipv4 10.1.0.1'],
    },
    'revoke --all --cut': {
      words: ['revoke', '--all', '--cut'],
      prepare: loaded,
      out: ['ssh_clients_ipv4 10.1.0.1'],
    },
    'user add': { words: ['user', 'add', 'ssh', 'dave', ...HOST], prepare: loaded, chance: true },
    'user rotate': { words: ['user', 'rotate', 'ssh', 'bob', ...HOST], prepare: loaded, chance: true },
    'user rotate, of a secret in a file': {
      words: ['user', 'rotate', 'ssh', 'carol', ...HOST],
      prepare: loaded,
      chance: true,
    },
    'user remove': { words: ['user', 'remove', 'ssh', 'bob'], prepare: loaded },
    init: { words: ['init', '--yes', '--tokens', 'laptop'], prepare: nothing, chance: true, fits: true },
    'init --force': {
      words: ['init', '--yes', '--force'],
      prepare: loaded,
      chance: true,
      fits: true,
      copies: /^knockd-nft\.json\.bak\d*$/,
    },
    import: { words: ['import', join(folder, 'knockd.conf')], prepare: knockdConf, looks: true },
    try: {
      words: ['try', `${folder}/knockd-nft.json.new`, '--for', '2s'],
      prepare: async (world, env) => {
        await loaded(world, env);
        writeCandidate(world);
      },
    },
    // a candidate that cannot be read again may have been edited, and stays
    confirm: { words: ['confirm'], prepare: tried, copies: /^knockd-nft\.json\.new$/ },
    undo: { words: ['undo'], prepare: tried },
    'undo --id, which outlives try': {
      words: ['undo', '--id', TRIAL],
      unheard: true,
      prepare: async (world, env) => {
        await tried(world, env, '3s');
        await delay(3000); // its time is over then
      },
    },
    'setup --first': { words: ['setup', '--first'], prepare: nothing, chance: true },
    'setup --next': looks('setup', '--next'),
    tokens: { words: ['tokens'], prepare: loaded },
    metrics: looks('metrics', '--json'),
    'status --json': looks('status', '--json'),
    diff: looks('diff'),
    check: looks('check', '--json'),
    render: looks('render'),
  };
}

/** The folders of the services, in the world's own. */
export function foldersOf(world: World): Env {
  const folder = dirname(world.configFile);
  const env = { RUNTIME_DIRECTORY: join(folder, 'run'), STATE_DIRECTORY: join(folder, 'state') };
  for (const path of Object.values(env)) mkdirSync(path, { recursive: true });
  return env;
}
