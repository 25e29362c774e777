/** What docs/operating.md says of the objects that `--json` prints is true: each has what it names there, and no more. */
import { chmodSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import t from 'tap';
import { patient, ssh, sshKnocks } from '../kernel/loaded.ts';
import { candidate } from '../kernel/trying.ts';
import { createWorld, missing } from '../kernel/world.ts';

const skip = missing('namespaces', 'nft', 'knockd');
const handbook = readFileSync('docs/operating.md', 'utf8');

type Value = Readonly<Record<string, unknown>>;

/** A row of the table: the keys of an object, each with the words in the parentheses after it. */
type Row = ReadonlyMap<string, readonly string[]>;

function wordsIn(text: string): string[] {
  return [...text.matchAll(/"(\w+)"/g)].map(([, word = '']) => word);
}

/** The rows of the table, by command. */
function rows(): ReadonlyMap<string, Row> {
  const [, table = ''] = /\n\| the object of \| has \|\n\|---\|---\|\n((?:\|.*\n)+)/.exec(handbook) ?? [];
  return new Map(
    table
      .trimEnd()
      .split('\n')
      .flatMap(line => {
        const [, commands = '', text = ''] = line.split('|');
        const keys = [...text.matchAll(/"(\w+)"(?: \(([^)]*)\))?/g)];
        const row = new Map(keys.map(([, key = '', within = '']) => [key, wordsIn(within)]));
        return [...commands.matchAll(/`([^`]+)`/g)].map(([, command = '']) => [command, row] as const);
      }),
  );
}

/** The keys of the object, or of the first of the objects. */
function keysWithin(value: unknown): readonly string[] {
  const one: unknown = Array.isArray(value) ? value[0] : value;
  return typeof one === 'object' && one !== null ? Object.keys(one) : [];
}

/** The value with `0` in place of everything that is neither an object nor a list. */
function shape(value: unknown): unknown {
  if (Array.isArray(value)) return value.slice(0, 1).map(shape);
  if (typeof value !== 'object' || value === null) return 0;
  return Object.fromEntries(Object.entries(value).map(([key, it]) => [key, shape(it)]));
}

t.test('each object of --json has what the handbook says', { skip }, async t => {
  const world = await createWorld(t);
  const secret = '3f9c1e07a64b8d52f0e1c3b5a7988d6e42107fb35c9ad8e6014273fdb8a5c96e';
  const wake = { ports: [], tokens: { phone: secret } };
  world.write({ services: { ssh, wake } });
  const folder = dirname(world.configFile);
  const env = { RUNTIME_DIRECTORY: join(folder, 'run'), STATE_DIRECTORY: join(folder, 'state') };
  for (const path of Object.values(env)) mkdirSync(path);
  const secretFile = join(folder, 'secret');
  writeFileSync(secretFile, secret);
  chmodSync(secretFile, 0o600);

  const printed = new Map<string, Value[]>();
  const has = async (
    command: string,
    words: string,
    options: Parameters<typeof world.knockd>[1] = {},
  ): Promise<Value> => {
    const { stdout, stderr } = await world.knockd([...words.split(' '), '--json'], { env, ...options });
    t.equal(stdout.split('\n').length, 2, `${words}: one line: ${stdout}${stderr}`);
    const value: Value = JSON.parse(stdout);
    printed.set(command, [...(printed.get(command) ?? []), value]);
    return value;
  };

  await has('check', 'check');
  world.write({ services: { ssh: { ...ssh, ports: ['x'] } } });
  await has('check', 'check');
  world.write({ services: { ssh, wake } });
  await has('diff', 'diff');
  await has('diff --nft', 'diff --nft');
  await has('render', 'render');
  await has('load', 'load');
  world.write({ services: { ssh: { ...ssh, openFor: '1m' }, wake } });
  await has('diff', 'diff');
  await has('load', 'load');
  await has('grant', 'grant ssh 192.0.2.9');
  await has('revoke', 'revoke ssh 192.0.2.9');
  await has('revoke', 'revoke --all --cut');
  for (const words of ['add', 'show', 'rotate', 'remove'].map(verb => `user ${verb} ssh alice`))
    await has(
      'user',
      `${words}${words.includes('remove') ? '' : ' --page https://example.org/ --host 192.0.2.1'}`,
    );
  await has('try', 'try');
  const other = candidate(world, { services: { ssh: { ...ssh, ports: [2222] } } });
  await has('try', `try ${other} --for 1s`);
  await has('init', 'init --yes --tokens laptop', { config: join(folder, 'first.json') });
  const doors =
    '[openSSH]\nsequence = 7000,8000,9000\ncommand = /sbin/iptables -A INPUT -s %IP% -p tcp --dport 22 -j ACCEPT\n';
  await has('import', 'import -', { input: doors });
  await has('knock', `knock ${world.server.ipv4} 7000 --gap 1ms`, { host: 'client' });
  await world.host('server').listen(80);
  await has('knock', `knock ${world.server.ipv4} 7000 --wait 80`, { host: 'client' });
  await has('page', `page --host ${world.server.ipv4} --service ssh --secret-file ${secretFile}`);
  await has('unload', 'unload');

  for (const [command, row] of rows()) {
    if (row.size === 0) continue;
    const values = printed.get(command);
    if (values === undefined) {
      t.ok(['confirm', 'undo'].includes(command), `${command} is tried here`);
      continue;
    }
    t.same([...new Set(values.flatMap(Object.keys))].sort(), [...row.keys()].sort(), command);
    for (const value of values)
      for (const [key, within] of row)
        if (within.length > 0 && key !== 'event')
          t.same(
            keysWithin(value[key]).filter(it => !within.includes(it)),
            [],
            `${command}: ${key}`,
          );
  }
});

t.test('the object of status is that of the handbook', { skip }, async t => {
  const world = await createWorld(t, { clients: ['client', 'slow', 'wrong'] });
  const phone = '3f9c1e07a64b8d52f0e1c3b5a7988d6e42107fb35c9ad8e6014273fdb8a5c96e';
  world.write({ services: { ssh: { ...ssh, ...patient, tokens: { phone } } } });
  const folder = dirname(world.configFile);
  const env = { RUNTIME_DIRECTORY: join(folder, 'run'), STATE_DIRECTORY: join(folder, 'state') };
  for (const path of Object.values(env)) mkdirSync(path);
  const supervisor = world.startKnockd(['run'], env);
  await supervisor.line(/"event":"loaded"/);
  await world.host('client').knock(world.server.ipv4, sshKnocks);
  await world.host('slow').knock(world.server.ipv4, sshKnocks.slice(0, 2));
  await world.host('wrong').knock(world.server.ipv4, sshKnocks.slice(1, 2));
  const status = async (): Promise<Value> =>
    JSON.parse((await world.knockd(['status', '--json'], { env })).stdout);

  const { tokens, ...real } = await status();
  const [, sample = ''] = /object of `status`.*\n+```json\n([^`]*)```/.exec(handbook) ?? [];
  t.same(shape(real), shape(JSON.parse(sample)));
  const [, words = ''] = /there is also "tokens": ([^.]*)\./.exec(handbook) ?? [];
  t.same(Object.keys(tokens ?? {}).sort(), wordsIn(words).sort());

  const other = candidate(world, { services: { ssh: { ...ssh, ports: [2222] } } });
  const trial = world.start(
    'server',
    process.execPath,
    [...['compiled/knockd-nft.cjs', '--config', world.configFile, 'try', other, '--for', '5m']],
    env,
  );
  await trial.line(/is undone at/);
  const moment = /^\d{4}-\d\d-\d\dT[\d:.]+Z$/;
  t.match(await status(), {
    trial: { candidate: other, until: moment },
    hold: { reason: String, until: moment },
  });
  await world.knockd(['undo'], { env });
});
