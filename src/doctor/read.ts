import { statSync } from 'node:fs';
import { ConfigError, UnreadableError } from '../config/problems.ts';
import type { Config } from '../config/types.ts';
import { readBook } from '../feeder/book.ts';
import { hasClockOfItsOwn, isSynchronized } from '../feeder/clock.ts';
import { readForeign } from '../firewalls/read.ts';
import { readTrackingBridges, readUnseen } from '../firewalls/unseen.ts';
import { diagnose, withConnection, withKernel } from '../host/access.ts';
import { readAnswering } from '../host/answering.ts';
import { readHold, readTroubles, runningSupervisor } from '../host/hold.ts';
import { stateFolder } from '../host/last-good.ts';
import { SILENT } from '../host/mounts.ts';
import { readLines, socketsOf } from '../host/proc.ts';
import { unreadable } from '../host/readable.ts';
import { findUser, SERVICE_USER } from '../host/service-user.ts';
import { hasDiagnostics } from '../host/sockets.ts';
import type { Connection } from '../netlink/connection.ts';
import { NetlinkError } from '../netlink/errors.ts';
import { NETLINK_NETFILTER, NETLINK_ROUTE } from '../netlink/socket.ts';
import { readGeneration } from '../nftables/transaction.ts';
import { compile } from '../ruleset/compile.ts';
import { ForeignTableError } from '../table/errors.ts';
import { isNotPermitted } from '../table/explain.ts';
import { isInForce } from '../table/load.ts';
import { probe } from '../table/probe.ts';
import { type Kernel, readKernel } from '../table/read.ts';
import { beginOf } from '../token/derive.ts';
import { readClients } from './clients.ts';
import type { Facts, FileFacts, KernelFacts, ServiceFacts, TableFacts, TokenFacts } from './facts.ts';
import { readHostFacts } from './host.ts';
import { readSystemd } from './systemd.ts';

/** Reads everything that the checks depend on. The facts leave out what cannot be read, and say so. */
export async function readFacts(path: string, env: NodeJS.ProcessEnv): Promise<Facts> {
  const { config, problems, secretFiles } = await read(path, env);
  return {
    file: {
      path,
      ...readRights(path),
      user: process.geteuid?.() ?? 0,
      problems,
      secretFiles,
      unreadable: unreadable(path, secretFiles, env),
    },
    config,
    kernel: await readKernelFacts(config),
    service: readService(config, env),
    host: await readHostFacts(config),
    tokens: config?.services.some(({ tokens }) => tokens.length > 0) ? readTokenFacts(env) : undefined,
  };
}

async function read(
  path: string,
  env: NodeJS.ProcessEnv,
): Promise<Pick<Facts, 'config'> & Pick<FileFacts, 'problems' | 'secretFiles'>> {
  try {
    const { config, warnings, secretFiles } = await readAnswering(path, env);
    return { config, problems: warnings, secretFiles };
  } catch (error) {
    const isSilent = error instanceof UnreadableError && error.reason === SILENT; // all else that asks it would hang
    if (isSilent || !(error instanceof ConfigError)) throw error;
    return { config: undefined, problems: error.problems, secretFiles: error.secretFiles };
  }
}

function readTokenFacts(env: NodeJS.ProcessEnv): TokenFacts {
  const fed = readBook(env).ledger?.fed;
  return {
    now: Date.now(),
    clock: isSynchronized() ? 'fine' : hasClockOfItsOwn() ? 'unsynchronized' : 'waits',
    folder: unwritable(stateFolder(env)),
    until: fed ? beginOf(fed.until + 1) : undefined,
  };
}

/** The state folder, if the user of the services cannot write to it. Only root can tell. */
function unwritable(path: string | undefined): TokenFacts['folder'] {
  const stats = path === undefined ? undefined : statSync(path, { throwIfNoEntry: false });
  if (path === undefined || !stats || process.geteuid?.() !== 0) return undefined;
  if (!stats.isDirectory()) return { path, why: 'it is no folder' };
  const user = findUser(SERVICE_USER);
  return user && user.uid !== stats.uid ? { path, why: `it is not ${SERVICE_USER}'s` } : undefined;
}

function readRights(path: string): Pick<FileFacts, 'mode' | 'owner'> {
  const stats = statSync(path, { throwIfNoEntry: false });
  return { mode: stats && stats.mode & 0o777, owner: stats?.uid };
}

async function readKernelFacts(config: Config | undefined): Promise<KernelFacts> {
  return withKernel(async ({ connection }): Promise<KernelFacts> => {
    const refusal = await readGeneration(connection).then(
      () => undefined,
      error => error,
    );
    if (isNotPermitted(refusal)) return { is: 'not permitted' };
    if (refusal instanceof NetlinkError) return { is: 'absent', reason: refusal.message };
    if (refusal) throw refusal;
    const kernel = await readKernel(connection);
    const tables = await readForeign(connection);
    return {
      is: 'read',
      lacking: await probe(connection),
      canCut: await diagnose(hasDiagnostics),
      table: await readTable(connection, kernel, config),
      tables,
      unseen: await withConnection(NETLINK_ROUTE, routes => readUnseen(connection, routes)),
      trackingBridges: await readTrackingBridges(connection),
      clients: await readClients(connection, kernel, tables),
    };
  });
}

async function readTable(
  connection: Connection,
  kernel: Kernel,
  config: Config | undefined,
): Promise<TableFacts> {
  // a table under another name guards, too, but is not as the file says
  const is = kernel.ours.length > 0 ? 'loaded' : 'not loaded';
  if (!config) return { is, inSync: null };
  try {
    return { is, inSync: await isInForce(connection, kernel, compile(config)) };
  } catch (error) {
    if (error instanceof ForeignTableError) return { is: 'foreign', inSync: false };
    throw error;
  }
}

function readService(config: Config | undefined, env: NodeJS.ProcessEnv): ServiceFacts {
  const supervisor = runningSupervisor(env);
  return {
    supervisor,
    hold: readHold(env),
    troubles: readTroubles(env),
    systemd: readSystemd(),
    groupOwner: config && readGroupOwner(config.log.group, supervisor?.pid),
  };
}

/** The kernel names the netlink port that has the group. The socket with that port may belong to the supervisor. */
function readGroupOwner(group: number, supervisor: number | undefined): ServiceFacts['groupOwner'] {
  // group, port, queue length, copy mode, copy range, flush timeout, references
  const bound = rows('/proc/self/net/netfilter/nfnetlink_log').find(([number]) => Number(number) === group);
  if (!bound) return undefined;
  if (supervisor === undefined) return 'other';
  // sk, family, port, …, inode
  const socket = rows('/proc/self/net/netlink').find(
    ([, family, port]) => Number(family) === NETLINK_NETFILTER && Number(port) === Number(bound[1]),
  );
  const held = socketsOf(supervisor);
  if (!held || !socket) return undefined;
  return held.includes(Number(socket.at(-1))) ? 'supervisor' : 'other';
}

function rows(path: string): string[][] {
  return readLines(path).map(line => line.trim().split(/\s+/));
}
