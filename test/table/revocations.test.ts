/** Revocations are noted for supervisors, which remember clients. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import t, { type Test } from 'tap';
import { parseConfig } from '../../src/config/parse.ts';
import { monotonic } from '../../src/host/clock.ts';
import { compile } from '../../src/ruleset/compile.ts';
import type { KnownClient } from '../../src/table/clients.ts';
import type { Revoked } from '../../src/table/openings.ts';
import { noteRevocation, noteUnload, withoutRevoked } from '../../src/table/revocations.ts';
import { bootOf, onBoot } from '../boot.ts';

const HOUR = 3_600_000;
const text = JSON.stringify({
  services: { ssh: { ports: [22], sequences: { alice: [7001, 7003, 7005], bob: [7002, 7004, 7006] } } },
});
const ruleset = compile(parseConfig(text, 'file', {}).config);

function folder(t: Test) {
  const RUNTIME_DIRECTORY = mkdtempSync(join(tmpdir(), 'knockd-nft-test-'));
  t.teardown(() => rmSync(RUNTIME_DIRECTORY, { recursive: true }));
  return { RUNTIME_DIRECTORY };
}

const keyOf = (index: number) => Buffer.from([10, 1, index >> 8, index & 255]);

function client(index: number): KnownClient {
  const until = monotonic() + HOUR / 2;
  return {
    service: 'ssh',
    family: 'ipv4',
    key: keyOf(index),
    place: null,
    timeout: HOUR,
    until,
    granted: false,
  };
}

const byAddress = (index: number): Revoked => ({
  ruleset,
  revocation: {
    services: ['ssh'],
    everywhere: false,
    whom: { is: 'client', family: 'ipv4', key: keyOf(index), client: `${index}` },
  },
  openings: [],
});

/** A user who had come in from many addresses. */
const byName = (many: number): Revoked => ({
  ruleset,
  revocation: { services: ['ssh'], everywhere: false, whom: { is: 'user', name: 'bob' } },
  openings: Array.from({ length: many }, (_, index) => ({
    service: 'ssh',
    family: 'ipv4',
    key: keyOf(index + 100),
    client: `${index}`,
    user: 'bob',
  })),
});

t.test('who was revoked stays out, however many are revoked after', async t => {
  const env = folder(t);
  const clients = [client(1), client(100), client(50_000)];
  const seen = monotonic();
  await noteRevocation(env, byAddress(1));
  t.same(withoutRevoked(env, clients, seen), clients.slice(1));
  await noteRevocation(env, byName(12_000));
  t.notOk(withoutRevoked(env, clients, seen).includes(clients[0] as KnownClient), 'by address');
  await noteRevocation(env, byAddress(2));
  t.notOk(withoutRevoked(env, clients, seen).includes(clients[1] as KnownClient), 'by name');
});

t.test('revocations at the same moment are all noted', async t => {
  const env = folder(t);
  const [config, compiled, revocations] = [
    'config/parse.js',
    'ruleset/compile.js',
    'table/revocations.js',
  ].map(path => JSON.stringify(pathToFileURL(`build/src/${path}`).href));
  const source = `
    import { once } from 'node:events';
    import { parseConfig } from ${config};
    import { compile } from ${compiled};
    import { noteRevocation } from ${revocations};
    const ruleset = compile(parseConfig(${JSON.stringify(text)}, 'file', {}).config);
    process.stdout.write('ready');
    await once(process.stdin.resume(), 'end');
    for (let index = 0; index < 20; index++) {
      const whom = { is: 'client', family: 'ipv4', key: Buffer.from([10, 0, Number(process.argv[1]), index]), client: '' };
      await noteRevocation(process.env, { ruleset, revocation: { services: ['ssh'], everywhere: false, whom }, openings: [] });
    }`;
  const children = [1, 2, 3, 4].map(number =>
    spawn(process.execPath, ['--input-type=module', '-e', source, `${number}`], {
      env: { ...process.env, ...env },
      stdio: ['pipe', 'pipe', 'inherit'],
    }),
  );
  const ended = children.map(child => once(child, 'exit'));
  await Promise.all(children.map(({ stdout }) => once(stdout, 'data')));
  for (const { stdin } of children) stdin.end();
  t.same(
    (await Promise.all(ended)).map(([status]) => status),
    [0, 0, 0, 0],
  );
  const lines = readFileSync(join(env.RUNTIME_DIRECTORY, 'revoked'), 'utf8').trim().split('\n');
  t.equal(new Set(lines).size, 80);
});

t.test(
  'a revocation of another boot keeps nobody out, though it came at an uptime like this one',
  async t => {
    const env = folder(t);
    const clients = [client(1), client(2)];
    const seen = monotonic();
    Object.assign(process.env, bootOf('1'));
    t.teardown(() => delete process.env.KNOCKD_NFT_BOOT);
    await noteUnload(env);
    t.same(withoutRevoked(env, clients, seen), [], 'on that boot it does');
    t.same(
      onBoot('2', () => withoutRevoked(env, clients, seen)),
      clients,
    );
    Object.assign(process.env, bootOf('2'));
    await noteRevocation(env, byAddress(1));
    t.same(withoutRevoked(env, clients, seen), clients.slice(1), 'one of this boot still counts');
  },
);
