/** The rivals: how each comes to guard the services on a host, and what a client sends to be let in. */
import { spawnSync } from 'node:child_process';
import { createHash, randomBytes } from 'node:crypto';
import { chmodSync, existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { parseConfig } from '../../src/config/parse.ts';
import { noteFresh } from '../../src/feeder/book.ts';
import { tokensWanted } from '../../src/feeder/feed.ts';
import { deriveToken, windowAt } from '../../src/token/derive.ts';
import { tokenDatagram } from '../../src/token/packet.ts';
import { environment, lacking } from '../../test/kernel/process.ts';
import type { World } from '../../test/kernel/world.ts';
import { article, configuration, conntrackOnly, guardedPort, knocksOf, program } from '../subjects.ts';
import { ENVIRONMENT, FLAGS } from '../supervisor.ts';
import {
  accessConf,
  articleByMap,
  iptablesGuard,
  knockdConf,
  nftGuard,
  recent,
  type SpaKeys,
} from './firewalls.ts';

/** A daemon has to be ready after this many milliseconds. */
const READY = 30_000;

/** A packet that a client sends to be let in: a datagram with the payload, or a SYN without one. */
export interface Knock {
  readonly port: number;
  readonly payload?: string;
}

/** A rival that guards a host. */
export interface Standing {
  /** The processes of its daemon, if it has one. */
  readonly pids: readonly number[];
  /** From the start of the first command until it guards, in milliseconds. */
  readonly milliseconds: number;
  /** The growth of slabs and large areas for its rules and sets, in MiB. Other work of the machine disturbs it. */
  readonly kernel: number;
  readonly remove: () => Promise<void>;
}

export interface Rival {
  /** The name of its host. */
  readonly host: string;
  readonly name: string;
  readonly kind: 'nothing' | 'sequence' | 'datagram';
  /** Its configuration, in words. */
  readonly how: string;
  /** Why it cannot be measured here, or false. */
  readonly lacks: () => string | false;
  /** Makes it guard that many services. Rejects if it cannot. */
  readonly stand: (world: World, host: string, services: number) => Promise<Standing>;
  /** Packets that let each of these addresses in to the first service. They are good for two minutes. */
  readonly knocks: (world: World, host: string, sources: readonly string[]) => readonly (readonly Knock[])[];
  /** A packet that looks like the first one of `knocks`, but is not. */
  readonly flood: Knock;
}

const sequence: readonly Knock[] = knocksOf(0).map(port => ({ port }));
const bySequence = {
  kind: 'sequence',
  knocks: (_world: World, _host: string, sources: readonly string[]) => sources.map(() => sequence),
  flood: sequence[0] ?? { port: 0 },
} as const;

/** Files of a host. */
function folderOf(world: World, host: string): string {
  const folder = join(dirname(world.configFile), host);
  mkdirSync(folder, { recursive: true });
  return folder;
}

function write(world: World, host: string, name: string, text: string): string {
  const file = join(folderOf(world, host), name);
  writeFileSync(file, text);
  chmodSync(file, 0o600);
  return file;
}

async function did(
  world: World,
  host: string,
  command: string,
  args: readonly string[],
  env = {},
): Promise<void> {
  const { status, stderr } = await world.run(host, command, args, { env, timeout: 120_000 });
  if (status !== 0) throw new Error(`${command} on ${host}: ${stderr.trim() || `status ${status}`}`);
}

/** In slabs and large areas, MiB. */
function kernelMemory(): number {
  const text = readFileSync('/proc/meminfo', 'utf8');
  const of = (name: string) => Number(new RegExp(`^${name}: +(\\d+)`, 'm').exec(text)?.[1]);
  return (of('Slab') + of('VmallocUsed')) / 1024;
}

interface Daemon {
  readonly command: readonly string[];
  /** The text in its log when it is ready. */
  readonly ready: RegExp;
  readonly env?: Readonly<Record<string, string>>;
  /** The kernel guards without it. */
  readonly beside?: true;
}

/** Its output goes into a file, as under a service manager, since nobody here reads a flood of it. */
async function daemon(world: World, host: string, { command, ready, env }: Daemon) {
  const log = write(world, host, 'log', '');
  const running = world.start(
    host,
    'sh',
    ['-c', 'log=$1; shift; exec "$@" >"$log" 2>&1', 'sh', log, ...command],
    env,
  );
  let end: string | undefined;
  running.ended.then(({ status }) => {
    end ??= `it ended with ${status}`;
  });
  for (const deadline = performance.now() + READY; !ready.test(readFileSync(log, 'utf8')); await delay(2)) {
    if (performance.now() > deadline) end ??= `it was not ready after ${READY / 1000} s`;
    if (end === undefined) continue;
    await running.stop('SIGKILL');
    throw new Error(
      `${end}${readFileSync(log, 'utf8').trim().slice(-200).replace(/^/, ': ').replace(/^: $/, '')}`,
    );
  }
  return running;
}

/** A firewall that a command loads, and perhaps a daemon. */
async function stand(
  world: World,
  host: string,
  load: () => Promise<void>,
  service?: Daemon,
  unload = () => did(world, host, 'nft', ['flush', 'ruleset']),
): Promise<Standing> {
  const before = kernelMemory();
  const start = performance.now();
  await load();
  const loaded = performance.now();
  const kernel = kernelMemory() - before;
  const again = performance.now();
  const running = service && (await daemon(world, host, service));
  return {
    pids: running ? [running.pid] : [],
    milliseconds: loaded - start + (service?.beside ? 0 : performance.now() - again),
    kernel,
    async remove() {
      await running?.stop();
      await unload();
    },
  };
}

const nftFile = (world: World, host: string, text: string) => {
  const file = write(world, host, 'rules.nft', text);
  return () => did(world, host, 'nft', ['-f', file]);
};
const iptablesFile = (world: World, host: string, text: string) => {
  const file = write(world, host, 'rules', text);
  return () => did(world, host, 'iptables-restore', [file]);
};

function knockd(by: 'iptables' | 'nft'): Pick<Rival, 'stand'> {
  return {
    stand: (world, host, services) => {
      const conf = write(world, host, 'knockd.conf', knockdConf(services, by));
      const guard =
        by === 'iptables'
          ? iptablesFile(world, host, iptablesGuard(services))
          : nftFile(world, host, nftGuard(services));
      const command = ['knockd', '-v', '-c', conf, '-i', 'eth0', '-p', join(folderOf(world, host), 'pid')];
      return stand(world, host, guard, { command, ready: /listening on/ });
    },
  };
}

/** The same for each service, from run to run. */
function spaKeys(service: number): SpaKeys {
  const base64 = (text: string) => createHash('sha256').update(`${text} ${service}`).digest('base64');
  return { key: base64('key'), hmac: base64('hmac') };
}

function fwknop(by: 'pcap' | 'udp'): Pick<Rival, 'stand' | 'knocks' | 'flood' | 'kind'> {
  return {
    kind: 'datagram',
    stand: (world, host, services) => {
      const keys = [...Array(services).keys()].map(spaKeys);
      const access = write(world, host, 'access.conf', accessConf(keys));
      const run = join(folderOf(world, host), 'run');
      mkdirSync(run, { recursive: true, mode: 0o700 });
      const conf = write(world, host, 'fwknopd.conf', `PCAP_INTF eth0;\nFWKNOP_RUN_DIR ${run};\n`);
      const command = ['fwknopd', '-f', '-c', conf, '-a', access, ...(by === 'udp' ? ['-U'] : [])];
      const ready = by === 'udp' ? /Kicking off UDP server/ : /main event loop/;
      return stand(world, host, iptablesFile(world, host, iptablesGuard(services)), { command, ready });
    },
    knocks: (world, host, sources) => {
      const { key, hmac } = spaKeys(0);
      const folder = folderOf(world, host);
      return sources.map(source => {
        const file = join(folder, 'packet');
        const access = ['-A', `tcp/${guardedPort(0)}`, '-a', source, '-D', world.addresses(host).ipv4];
        const keys = ['--key-base64-rijndael', key, '--key-base64-hmac', hmac, '--use-hmac'];
        const { status, stderr } = spawnSync(
          'fwknop',
          [...access, ...keys, '--no-rc-file', '-T', '-B', file],
          {
            env: { ...environment, HOME: folder },
            encoding: 'utf8',
          },
        );
        if (status !== 0) throw new Error(`fwknop: ${stderr}`);
        return [{ port: 62201, payload: readFileSync(file, 'utf8').trim() }];
      });
    },
    // as long as a true one: each is authenticated, in vain
    flood: { port: 62201, payload: randomBytes(156).toString('base64').slice(0, 205).replace(/^./, '8') },
  };
}

/** A file in a folder that both the loader and the supervisor know. */
function ours(world: World, host: string, config: object) {
  const folder = folderOf(world, host);
  const file = write(world, host, 'knockd-nft.json', JSON.stringify(config));
  const env = { RUNTIME_DIRECTORY: join(folder, 'run'), STATE_DIRECTORY: join(folder, 'state') };
  for (const path of Object.values(env)) mkdirSync(path, { recursive: true });
  const command = [process.execPath, ...FLAGS, program, '--config', file, 'run'];
  return {
    file,
    env,
    load: () => did(world, host, process.execPath, [program, '--config', file, 'load'], env),
    supervisor: {
      command,
      ready: /"event":"(loaded|unchanged|swapped)"/,
      env: { ...ENVIRONMENT, ...env },
      beside: true as const,
    },
  };
}

const secretOf = (service: number) => createHash('sha256').update(`secret ${service}`).digest('hex');
let spent = 0;

export const rivals: readonly Rival[] = [
  {
    host: 'none',
    name: 'no rule',
    how: 'no connection tracking',
    kind: 'nothing',
    lacks: () => false,
    stand: (world, host) => stand(world, host, async () => {}),
    knocks: () => [],
    flood: { port: 0 },
  },
  {
    host: 'tracking',
    name: 'connection tracking only',
    how: '`ct state established accept`',
    kind: 'nothing',
    lacks: () => false,
    stand: (world, host) => stand(world, host, nftFile(world, host, conntrackOnly)),
    knocks: () => [],
    flood: { port: 0 },
  },
  {
    host: 'knockd',
    name: 'knockd',
    how: 'commands as in its manual page: `iptables -I`, ten seconds later `iptables -D`',
    ...bySequence,
    lacks: () => lacking('knockd', 'iptables', 'iptables-restore'),
    ...knockd('iptables'),
  },
  {
    host: 'knockdnft',
    name: 'knockd with a set',
    how: 'its best: `nft add element` with a time-out, which the kernel keeps',
    ...bySequence,
    lacks: () => lacking('knockd', 'nft'),
    ...knockd('nft'),
  },
  {
    host: 'fwknop',
    name: 'fwknop',
    how: "Debian's default: libpcap, asked ten times a second",
    lacks: () => lacking('fwknopd', 'fwknop', 'iptables-restore'),
    ...fwknop('pcap'),
  },
  {
    host: 'fwknopudp',
    name: 'fwknop as a server',
    how: 'its best: `fwknopd -U`, which listens on 62201/udp without libpcap',
    lacks: () => lacking('fwknopd', 'fwknop', 'iptables-restore'),
    ...fwknop('udp'),
  },
  {
    host: 'recent',
    name: 'iptables recent',
    how: 'a list for each step, from which a wrong port removes a client; 100 addresses a list, unless a parameter of the module changes that',
    ...bySequence,
    lacks: () =>
      lacking('iptables-restore') ||
      (!existsSync('/proc/net/xt_recent') && 'this kernel has no xt_recent, or did not load it'),
    stand: (world, host, services) => stand(world, host, iptablesFile(world, host, recent(services))),
  },
  {
    host: 'article',
    name: 'nft recipe',
    how: 'as in articles: two sets and five rules for each service',
    ...bySequence,
    lacks: () => lacking('nft'),
    stand: (world, host, services) => stand(world, host, nftFile(world, host, article(services))),
  },
  {
    host: 'bymap',
    name: 'nft recipe by a map',
    how: 'its best: a map leads from the port to its rule, two sets of 65,535 serve all services',
    ...bySequence,
    lacks: () => lacking('nft'),
    stand: (world, host, services) => stand(world, host, nftFile(world, host, articleByMap(services))),
  },
  {
    host: 'ours',
    name: 'knockd-nft, sequences',
    how: 'the default, with its supervisor',
    ...bySequence,
    lacks: () => false,
    stand(world, host, services) {
      const { load, supervisor } = ours(world, host, configuration(services));
      return stand(world, host, load, supervisor);
    },
  },
  {
    host: 'tokens',
    name: 'knockd-nft, tokens',
    how: 'the default, with its supervisor; a secret for each service',
    kind: 'datagram',
    lacks: () => false,
    async stand(world, host, services) {
      const names = [...Array(services).keys()];
      const config = {
        services: Object.fromEntries(
          names.map(service => [
            `service${service}`,
            { ports: [guardedPort(service)], tokens: { user: secretOf(service) } },
          ]),
        ),
      };
      const { file, env, load, supervisor } = ours(world, host, config);
      const wanted = tokensWanted(parseConfig(readFileSync(file, 'utf8'), file, env).config);
      const { users = [], realm = '' } = wanted ?? {};
      await noteFresh(
        env,
        users.map(user => ({ ...user, realm })),
      );
      return stand(world, host, load, supervisor);
    },
    knocks: (_world, _host, sources) =>
      sources.map(() => {
        const secret = Buffer.from(secretOf(0), 'hex');
        const window = windowAt(Date.now()) + ++spent;
        const text = deriveToken({ secret, realm: 'default', service: 'service0' }, window);
        return [{ port: 62201, payload: tokenDatagram(text) }];
      }),
    flood: { port: 62201, payload: tokenDatagram(randomBytes(16).toString('hex')) },
  },
];
