/** `knockd-nft import`: the file of Debian's package, statuses, streams, and nothing that makes it fall. */
import { spawnSync } from 'node:child_process';
import { chmodSync, existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import fc from 'fast-check';
import t, { type Test } from 'tap';
import { damaged } from '../import/arbitrary.ts';
import { environment, type Result, run } from '../kernel/process.ts';
import { createWorld, missing } from '../kernel/world.ts';

const built = { skip: missing('knockd') };
const program = resolve('dist/knockd-nft.cjs');
const DEBIAN = '/etc/knockd.conf';

function knockd(...args: readonly string[]): Promise<Result> {
  return run([process.execPath, program, ...args], { env: environment });
}

function files(t: Test): (text: string | Uint8Array, mode?: number) => string {
  const folder = mkdtempSync(join(tmpdir(), 'knockd-nft-test-'));
  t.teardown(() => rmSync(folder, { recursive: true, force: true }));
  let number = 0;
  return (text, mode = 0o640) => {
    const file = join(folder, `${number++}.conf`);
    writeFileSync(file, text);
    chmodSync(file, mode);
    return file;
  };
}

const door = (name: string, port: number, ...more: readonly string[]) =>
  [`[${name}]`, ...more, `command = iptables -A INPUT -s %IP% -p tcp --dport ${port} -j ACCEPT`, ''].join(
    '\n',
  );

t.test('the configuration goes to stdout, what to know to stderr, and check agrees', built, async t => {
  const file = files(t);
  const conf = file(`[options]\nlogfile=/x\n${door('openSSH', 22, 'sequence = 61000,52000,43000')}`);
  const { status, stdout, stderr } = await knockd('import', conf);
  t.equal(status, 0);
  t.match(stdout, /^\/\/ Made from ".*(\.conf|…)" by "knockd-nft import"/);
  t.match(
    stdout,
    '    // "[openSSH]", line 3\n    "ssh": {\n      "ports": [22],\n      "sequence": [61000, 52000, 43000],\n',
  );
  const lines = stderr.trimEnd().split('\n');
  t.ok(lines[0]?.startsWith(`${conf}:2: LogFile`));
  t.ok(lines[1]?.startsWith(`${conf}:5: [openSSH] stayed open`));
  t.match(lines[2], /^knockd-nft import: 1 of 1 door carried over, as ssh\.$/);
  t.notMatch(stderr, /61000|52000|43000/);
  const checked = await knockd('check', file(stdout));
  t.equal(checked.status, 0);
  t.equal(checked.stderr, '');

  const json = await knockd('import', '--json', conf);
  t.equal(json.stderr, '');
  const { configuration, notes } = JSON.parse(json.stdout);
  t.match(notes, [
    { file: conf, line: 2, door: null },
    { file: conf, line: 5, door: 'openSSH', message: /^stayed open/ },
  ]);
  t.equal((await knockd('check', file(JSON.stringify(configuration)))).status, 0);
});

t.test('statuses: nothing to carry over is 1, no knockd.conf is 78, a wrong call is 64', built, async t => {
  const file = files(t);
  const empty = await knockd(
    'import',
    file('[options]\n[wol]\nsequence=1,2\ncommand=/usr/bin/wakeonlan x\n'),
  );
  t.equal(empty.status, 1);
  t.equal(empty.stdout, '');
  t.match(
    empty.stderr,
    /:4: \[wol\] not carried over: wakeonlan is not run here.*\n.*no door could be carried over: "knockd-nft init"/,
  );
  t.match(JSON.parse((await knockd('import', '--json', file(''))).stdout), {
    configuration: null,
    notes: [{ line: 1 }],
  });
  for (const [text, why] of [
    ['root:x:0:0\n', /:1: a setting outside of any section/],
    ['[a]\nnonsense\n', /:2: neither a \[section\] nor "key = value"/],
    [Buffer.from([0x7f, 0x45, 0x4c, 0x46, 0]), /:1: a NUL byte/],
  ] as const) {
    const { status, stdout, stderr } = await knockd('import', file(text));
    t.equal(status, 78);
    t.equal(stdout, '');
    t.match(stderr, why);
  }
  t.match(await knockd('import', '/no/such.conf'), {
    status: 78,
    stdout: '',
    stderr: /there is no such file; expected a knockd\.conf/,
  });
  t.match(await knockd('import', tmpdir()), {
    status: 78,
    stderr: /not a regular file; expected a knockd\.conf$/m,
  });
  t.match(await knockd('import'), { status: 64, stdout: '' });
  t.match(await knockd('import', 'a', 'b'), { status: 64 });
});

t.test('a knockd.conf may come through a pipe, or by standard input', built, async t => {
  const conf = door('openSSH', 22, 'sequence = 1,3,5');
  const piped = await run([process.execPath, program, 'import', '-'], { env: environment, input: conf });
  t.match(piped, { status: 0, stdout: /"sequence": \[1, 3, 5\]/, stderr: /^standard input:3: \[openSSH\]/ });
  const file = files(t)(conf);
  const substituted = await run(['bash', '-c', `${process.execPath} ${program} import <(cat ${file})`], {
    env: environment,
  });
  t.match(substituted, { status: 0, stdout: /"sequence": \[1, 3, 5\]/ });
  const endless = await run(['bash', '-c', `${process.execPath} ${program} import - </dev/zero`], {
    env: environment,
  });
  t.match(endless, { status: 78, stderr: /standard input: too large/ });
});

t.test("options of knockd's client are answered with what to write instead", built, async t => {
  const refused = await knockd('knock', '-u', '-v', '-d', '500', 'host', '7000');
  t.match(refused, {
    status: 64,
    stderr: /-u: write each knock as 2345\/udp.*-d: write --gap 500ms.*-v: leave it out/,
  });
});

t.test('no text of the file can control the terminal', built, async t => {
  const conf = files(t)(
    door('evil\u001b[31m\u0007', 22, 'sequence=1,3,2', 'target=x').replace('-p tcp', '-p tcp -i \u001b[0m'),
  );
  const { status, stdout, stderr } = await knockd('import', conf);
  t.equal(status, 0);
  t.notMatch(stdout + stderr, /[^\n -~…]/);
});

const debian =
  missing('namespaces', 'knockd') ||
  (spawnSync('knock', ['-V'], { env: environment }).error
    ? 'knock of the package knockd is not installed'
    : false) ||
  (existsSync(DEBIAN) ? false : `${DEBIAN} of the package knockd is not installed`);

t.test("Debian's own knockd.conf loads, and Debian's client opens the port", { skip: debian }, async t => {
  const world = await createWorld(t);
  const { status, stdout, stderr } = await world.knockd(['import', DEBIAN]);
  t.equal(status, 0, stderr);
  const numbers = readFileSync(DEBIAN, 'utf8').split('\n');
  for (const line of stderr.trimEnd().split('\n').slice(0, -4)) {
    const [, number = '', name] = /^\/etc\/knockd\.conf:(\d+): (?:\[(.*?)\] )?/.exec(line) ?? [];
    t.ok(numbers[Number(number) - 1], line);
    if (name !== undefined)
      t.ok(numbers.slice(0, Number(number)).includes(`[${name}]`), 'and the door is above that line');
  }
  world.write(stdout);
  const loaded = await world.knockd(['load']);
  t.equal(loaded.status, 0, loaded.stderr);
  const server = world.host('server');
  const client = world.host('client');
  await server.listen(22);
  await server.listen(443);
  for (const [port, knocks] of [
    [22, ['7000', '8000', '9000']],
    [443, ['12345', '54321', '24680', '13579']],
  ] as const) {
    t.equal(await client.connect(world.server.ipv4, port), 'silent');
    const knock = await world.run('client', 'knock', ['-d', '50', world.server.ipv4, ...knocks]);
    t.equal(knock.status, 0, knock.stderr);
    t.equal(await client.connect(world.server.ipv4, port), 'open', `${port} by IPv4`);
    t.equal(await client.connect(world.server.ipv6, port), 'silent');
    await world.run('client', 'knock', ['-d', '50', world.server.ipv6, ...knocks]);
    t.equal(await client.connect(world.server.ipv6, port), 'open', `${port} by IPv6`);
  }
});

t.test('a damaged file ends with 0, 1 or 78, and without a stack trace', built, async t => {
  const file = files(t);
  const cases = fc.sample(damaged, 20);
  for (const text of cases) {
    const { status, stdout, stderr } = await knockd('import', file(text));
    t.ok([0, 1, 78].includes(status), `${status}: ${JSON.stringify(text)}\n${stderr}`);
    t.notMatch(stdout + stderr, /^ +at .*:\d+:\d+\)?$/m);
    t.equal(stdout === '', status !== 0);
  }
});
