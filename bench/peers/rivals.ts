/** The rivals: how each comes to guard the services on a host, and what a client sends to be let in. */
import { spawnSync } from 'node:child_process';
import { createHash, randomBytes } from 'node:crypto';
import { existsSync, mkdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { parseConfig } from '../../src/config/parse.ts';
import { noteFresh } from '../../src/feeder/book.ts';
import { tokensWanted } from '../../src/feeder/feed.ts';
import { deriveToken, windowAt } from '../../src/token/derive.ts';
import { tokenDatagram } from '../../src/token/packet.ts';
import { environment, lacking } from '../../test/kernel/process.ts';
import type { World } from '../../test/kernel/world.ts';
import { flags, environment as malloc } from '../../test/supervisor/unit.ts';
import { article, configuration, conntrackOnly, guardedPort, knocksOf, program } from '../subjects.ts';
import {
  accessConf,
  articleByMap,
  iptablesGuard,
  knockdConf,
  nftGuard,
  recent,
  type SpaKeys,
} from './firewalls.ts';
import type { Knock, Rival } from './rival.ts';
import { did, folderOf, iptablesFile, nftFile, stand, write } from './standing.ts';

const sequence: readonly Knock[] = knocksOf(0).map(port => ({ port }));
const bySequence = {
  kind: 'sequence',
  knocks: (_world: World, _host: string, sources: readonly string[]) => sources.map(() => sequence),
  flood: sequence[0] ?? { port: 0 },
} as const;

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
  const command = [process.execPath, ...flags, program, '--config', file, 'run'];
  return {
    file,
    env,
    load: () => did(world, host, process.execPath, [program, '--config', file, 'load'], env),
    supervisor: {
      command,
      ready: /"event":"(loaded|unchanged|swapped)"/,
      env: { ...malloc, ...env },
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
