/** `doctor` on the command line: its text for people, its output for programs, and hosts where it can read little. */
import { spawnSync } from 'node:child_process';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import t, { type Test } from 'tap';
import { complaints, diagnosis, examine, follow, ids } from '../doctor/patient.ts';
import { load, loadedWorld } from '../kernel/loaded.ts';
import { environment, JITLESS } from '../kernel/process.ts';
import { createWorld, missing } from '../kernel/world.ts';
import { supervised } from '../supervisor/supervised.ts';

const needs = { skip: missing('namespaces', 'knockd', 'nft') };
const guarded = {
  closed: 'reject',
  services: { ssh: { ports: [22], sequence: [10000, 2345, 3456, 1234] } },
};
const program = 'dist/knockd-nft.cjs';

t.test('a healthy host: a few lines, and exit 0', needs, async t => {
  const { world, environment: env, supervisor } = await supervised(t, guarded);
  await world.host('server').listen(22);
  const { status, stdout, stderr } = await world.knockd(['doctor'], { env });
  t.equal(status, 0);
  t.equal(stderr, '');
  t.strictSame(
    stdout
      .replace(/Linux \S+/, 'Linux VERSION')
      .replace(/process \d+/, 'process PID')
      .replace(/\d+ of \d+/, 'N of M')
      .split('\n'),
    [
      `ok      configuration: ${world.configFile}: 1 service`,
      'ok      kernel: Linux VERSION has what is needed',
      'ok      table: inet knockd is loaded, as the file says',
      'ok      service: the supervisor runs (process PID)',
      'ok      other tables: there are none',
      'ok      guarded ports: services listen there',
      'ok      knocks: they reach our table and no other program',
      'ok      appearance: guarded ports look like those beside them',
      'ok      settings: N of M connections are tracked',
      '',
    ],
  );
  await supervisor.stop();
});

t.test('a finding is what, why and the command; in JSON the same', needs, async t => {
  const world = await loadedWorld(t, guarded);
  await world.host('server').listen(22);
  await world.nft(
    'table inet filter {\n chain input {\n type filter hook input priority 0; policy drop;\n }\n }',
  );
  const { status, stdout } = await world.knockd(['doctor'], {
    env: { NO_COLOR: '', FORCE_COLOR: '1', CI: 'true', TERM: 'xterm' },
  });
  t.equal(status, 1);
  t.match(
    stdout,
    `broken  table inet filter, chain input drops 22/tcp (ssh)
        a client that knocks correctly does not get in: another table may drop
        what ours accepts. The command lasts until the ruleset is loaded again:
        write the rule into its file, too (usually /etc/nftables.conf)
        nft insert rule inet filter input tcp dport 22 accept
`,
  );
  t.notMatch(stdout, '\u001b', 'no colour where there is no terminal');
  const json = await examine(world);
  t.equal(json.status, 1);
  t.match(
    json.findings.find(({ id }) => id === 'clients-dropped'),
    {
      id: 'clients-dropped',
      severity: 'broken',
      what: 'table inet filter, chain input drops 22/tcp (ssh)',
      why: String,
      mend: 'nft insert rule inet filter input tcp dport 22 accept',
    },
  );
  t.strictSame(json.checked, [
    'configuration',
    'kernel',
    'table',
    'service',
    'other tables',
    'guarded ports',
    'knocks',
    'appearance',
    'settings',
  ]);
});

t.test('without CAP_NET_ADMIN: what can be checked, and 77', needs, async t => {
  const world = await loadedWorld(t, {
    ...guarded,
    services: { ssh: { ...guarded.services.ssh, ports: [23] } },
  });
  const bare = [
    '--bounding-set=-net_admin',
    process.execPath,
    program,
    '--config',
    world.configFile,
    'doctor',
  ];
  const { status, stdout, stderr } = await world.run('server', 'setpriv', [...bare, '--json']);
  t.equal(status, 77);
  t.equal(stderr, '');
  const { findings, checked } = JSON.parse(stdout);
  t.match(findings, [
    { id: 'not-permitted', severity: 'broken', what: 'the capability CAP_NET_ADMIN is missing' },
    { id: 'no-supervisor' },
    { id: 'nothing-listens' },
  ]);
  t.strictSame(checked, ['configuration', 'kernel', 'service', 'guarded ports', 'knocks', 'settings']);
  t.match((await world.run('server', 'setpriv', bare)).stdout, 'sudo knockd-nft doctor');
});

t.test('a configuration that is missing or wrong is a finding among others', needs, async t => {
  const world = await createWorld(t);
  const missing = await examine(world);
  t.equal(missing.status, 1);
  t.match(missing.findings, [
    {
      id: 'configuration-invalid',
      what: `${world.configFile}: there is no such file; expected a configuration`,
      mend: `knockd-nft --config ${world.configFile} init`,
    },
    { id: 'not-loaded', severity: 'broken' },
    { id: 'no-supervisor' },
  ]);
  world.write('{ "services": { "ssh": { "ports": [22] } } }');
  const wrong = await examine(world);
  t.equal(wrong.status, 1);
  t.match(wrong.findings[0], {
    what: new RegExp(`^${world.configFile}:1:24: `),
    mend: `sudoedit ${world.configFile}`,
  });
  await load(world, guarded);
  world.write('{');
  t.notMatch(await ids(world), ['not-loaded'], 'what is loaded is loaded');
});

t.test('the rights of the file, mended by the command', needs, async t => {
  const world = await loadedWorld(t, guarded);
  for (const [mode, id] of [
    ['666', 'configuration-invalid'],
    ['644', 'file-readable'],
  ] as const) {
    await world.run('server', 'chmod', [mode, world.configFile]);
    const finding = await diagnosis(world, id);
    t.match(finding.mend, /^chmod (go-w|o-r) \S+$/);
    await follow(world, finding);
    t.notMatch(await ids(world), [id]);
  }
});

t.test('a table of our name that is not ours, and one that is not as the file says', needs, async t => {
  const world = await createWorld(t);
  world.write(guarded);
  await world.nft('add table inet knockd');
  const foreign = await diagnosis(world, 'table-foreign');
  t.equal(foreign.severity, 'broken');
  await follow(world, foreign);
  t.strictSame(await complaints(world), []);
  await world.nft('flush chain inet knockd_nft closed_reject');
  const changed = await diagnosis(world, 'not-in-sync');
  t.match(changed, { severity: 'broken', mend: `knockd-nft --config ${world.configFile} load` });
  await follow(world, {
    ...changed,
    mend: changed.mend.replace('knockd-nft ', `${process.execPath} ${program} `),
  });
  t.strictSame(await complaints(world), []);
});

t.test('the supervisor: another file, a hold, a group that another program has', needs, async t => {
  const { world, environment: own } = await supervised(t, guarded);
  const about = async (env: Readonly<Record<string, string>>) =>
    (await examine(world, { env })).findings.filter(({ id }) => id !== 'nothing-listens');
  t.strictSame(await about(own), []);

  const held = await world.knockd(['unload', '--force'], { env: own });
  t.equal(held.status, 0);
  t.match(await about(own), [{ id: 'not-loaded' }, { id: 'held', what: /unloaded by hand/ }]);
  await world.knockd(['load'], { env: own });
  t.strictSame(await about(own), []);

  const folder = join(dirname(world.configFile), 'elsewhere');
  mkdirSync(folder);
  t.match(await about({ ...own, RUNTIME_DIRECTORY: folder }), [
    { id: 'no-supervisor' },
    { id: 'group-taken', severity: 'risk', what: 'another program reads NFLOG group 22' },
  ]);

  const other = join(folder, 'other.json');
  writeFileSync(other, readFileSync(world.configFile), { mode: 0o600 });
  const { findings } = await examine(world, { env: own, config: other });
  t.match(
    findings.find(({ id }) => id === 'other-file'),
    { mend: `knockd-nft --config ${world.configFile} doctor` },
  );
});

/** In namespaces of their own, as the tests are: the kernel may lack what the program needs. */
function legacyWorks(): boolean {
  const script = 'iptables-legacy -S && test -s /proc/net/ip_tables_names';
  return spawnSync('unshare', ['-rn', 'sh', '-c', script], { env: environment }).status === 0;
}

const withLegacy = { skip: needs.skip || (legacyWorks() ? false : 'iptables-legacy does not work here') };

t.test('tables of iptables-legacy are named', withLegacy, async t => {
  const world = await loadedWorld(t, guarded);
  await world.host('server').listen(22);
  t.notMatch(await ids(world), ['legacy-tables']);
  await world.run('server', 'iptables-legacy', ['-P', 'INPUT', 'ACCEPT']);
  const finding = await diagnosis(world, 'legacy-tables');
  t.match(finding, { severity: 'note', what: /\(ip filter\)/ });
  t.match((await world.run('server', 'sh', ['-c', finding.mend])).stdout, ':INPUT ACCEPT');
});

t.test('it works without a compiler of machine code, and into a pipe that closes', needs, async t => {
  const world = await loadedWorld(t, guarded);
  await world.host('server').listen(22);
  const jitless = [...JITLESS, program, '--config', world.configFile, 'doctor', '--json'];
  const { status, stdout, stderr } = await world.run('server', process.execPath, jitless);
  t.strictSame([status, stderr], [0, '']);
  t.strictSame(
    JSON.parse(stdout).findings.map(({ id }: { id: string }) => id),
    ['no-supervisor'],
  );
  const piped = await world.run('server', 'sh', [
    '-c',
    `${process.execPath} ${program} --config ${world.configFile} doctor | true`,
  ]);
  t.strictSame([piped.status, piped.stderr], [0, '']);
});

function helpFits(t: Test, help: string) {
  const lines = help.trimEnd().split('\n');
  t.ok(lines.length <= 24 && lines.every(line => line.length <= 80), help);
}

t.test('the help fits a screen and has an example', { skip: missing('knockd') }, async t => {
  const { execFileSync } = await import('node:child_process');
  const help = execFileSync(process.execPath, [program, 'doctor', '--help'], { encoding: 'utf8' });
  helpFits(t, help);
  t.match(help, 'sudo knockd-nft doctor');
});
