/** The memory of a supervisor with very many users. */
import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import t from 'tap';
import { deriveToken, windowAt } from '../../src/token/derive.ts';
import { GOOD, tokens, tokenWorld } from '../kernel/token-world.ts';
import { skip } from './supervised.ts';
import { environment, flags } from './unit.ts';

const USERS = 1000;
/** In bytes, at any time: of the process, with the thread that loads. */
const MOST = 80_000_000;

const secretOf = (user: number) => createHash('sha256').update(`user ${user}`).digest('hex');

t.test(`a supervisor loads the tokens of ${USERS} users in less than 80 MB`, { skip }, async t => {
  const world = await tokenWorld(t);
  await world.host('server').listen(22);
  const users = Array.from({ length: USERS }, (_, user) => [`user${user}`, secretOf(user)]);
  const { ssh } = tokens.services;
  world.write({ services: { ssh: { ...ssh, tokens: Object.fromEntries(users) } } });
  t.ok(flags.length > 0 && Object.keys(environment).length > 0, `node ${flags.join(' ')}`);
  const supervisor = world.start(
    'server',
    process.execPath,
    [...flags, 'dist/knockd-nft.cjs', '--config', world.configFile, 'run'],
    { ...world.env, ...environment },
  );
  await supervisor.line(/"event":"loaded"/);
  const kilobytes = /^VmHWM:\s+(\d+) kB/m.exec(readFileSync(`/proc/${supervisor.pid}/status`, 'utf8'))?.[1];
  const most = Number(kilobytes) * 1024;
  t.ok(most < MOST, `${Math.round(most / 1e6)} MB at most`);
  for (const user of [0, USERS - 1]) {
    const key = { secret: Buffer.from(secretOf(user), 'hex'), realm: 'default', service: 'ssh' };
    t.ok(await world.opens('client', deriveToken(key, windowAt(Date.now()) + GOOD)), `user${user} gets in`);
    await world.nft('flush set inet knockd ssh_clients_ipv4');
  }
  await supervisor.stop();
});
