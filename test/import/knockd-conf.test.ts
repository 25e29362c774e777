/** knockd.conf is read as knockd reads it. If knockd is installed, the test asks it. */
import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import t from 'tap';
import { atoi, type KnockdConf, parseKnockdConf } from '../../src/import/knockd-conf.ts';
import { environment } from '../kernel/process.ts';
import { createWorld, missing } from '../kernel/world.ts';

const knockd =
  spawnSync('knockd', ['--version'], { env: environment }).status !== 0 && 'knockd is not installed';

function read(text: string): KnockdConf {
  const conf = parseKnockdConf(text);
  if ('problems' in conf) throw new Error(JSON.stringify(conf.problems));
  return conf;
}

function problems(text: string): string[] {
  const conf = parseKnockdConf(text);
  return 'problems' in conf ? conf.problems.map(({ line, message }) => `${line}: ${message}`) : [];
}

t.test('sections, settings and aliases', async t => {
  const { options, doors, unknown } = read(`# comment
[options]
  UseSyslog
\tLOGFILE=/var/log/a=b.log
[ open SSH ]
 Sequence   = 1,2
  # a comment
 COMMAND = first # no comment
 Start_Command = second
 Timeout = 3
[options]
interface = eth0\r
[b]
`);
  t.same(unknown, []);
  t.same(
    [...options.settings],
    [
      ['usesyslog', { line: 3, value: '' }],
      ['logfile', { line: 4, value: '/var/log/a=b.log' }],
      ['interface', { line: 12, value: 'eth0' }],
    ],
  );
  t.same(
    doors.map(({ name, line, settings }) => [name, line, ...settings]),
    [
      [
        ' open SSH ',
        5,
        ['sequence', { line: 6, value: '1,2' }],
        ['start_command', { line: 9, value: 'second' }],
        ['seq_timeout', { line: 10, value: '3' }],
      ],
      ['b', 13],
    ],
  );
});

t.test('settings that knockd does not use are reported and left out', async t => {
  const { doors, unknown } = read('[options]\nsequence=1\n[a]\npidfile=x\nsequense=1,2\n[Options]\n');
  t.same(
    doors.map(({ name, settings }) => [name, settings.size]),
    [
      ['a', 0],
      ['Options', 0],
    ],
  );
  t.match(unknown, [
    { line: 2, message: /^sequence does not belong here.*into a door$/ },
    { line: 4, message: /^pidfile does not belong here.*into \[options\]$/ },
    { line: 5, message: /^knockd has no such setting/ },
  ]);
});

t.test('a file that is no knockd.conf is refused, by line', async t => {
  t.match(problems('sequence = 1\n[]\nroot:x:0:0\n'), [
    '1: a setting outside of any section; expected "[options]" or "[openSSH]"',
    '2: a section without a name',
    '3: neither a [section] nor "key = value"',
  ]);
  t.match(problems('{ "services": {} }'), ['1: a setting outside']);
  t.match(problems('\u007fELF\0\0'), ['1: a NUL byte']);
  t.match(problems(`[a]\nx=${'1'.repeat(5000)}\n[b]`), ['2: longer than 4094 characters']);
  t.same(problems(''), []);
  t.same(problems('\n# nothing\n'), []);
});

t.test('numbers are read as C reads them', async t => {
  for (const [text, number] of [
    ['12', 12],
    [' 12s', 12],
    ['1.5', 1],
    ['-3', -3],
    ['+4', 4],
    ['x', 0],
    ['', 0],
    ['0x10', 0],
  ] as const)
    t.equal(atoi(text), number, text);
});

const space = fc.constantFrom('', ' ', '\t', '  ');
const cased = (word: string) =>
  fc
    .infiniteStream(fc.boolean())
    .map(upper => [...word].map(it => (upper.next().value ? it.toUpperCase() : it)).join(''));
const knock = fc
  .tuple(
    fc.integer({ min: 1, max: 65_535 }),
    fc.constantFrom('', ':tcp', ':udp', ':UDP', ': tcp '),
    space,
    fc.constantFrom('', ' x'),
  )
  .map(([port, protocol, before, after]) => `${before}${port}${protocol === '' ? after : ''}${protocol}`);
const setting = (name: string, value: fc.Arbitrary<string>) =>
  fc
    .tuple(space, cased(name), space, space, value, space)
    .map(([a, key, b, c, text, d]) => `${a}${key}${b}=${c}${text}${d}`);
const door = fc.tuple(
  fc.stringMatching(/^[a-zA-Z0-9 _.-]{1,20}$/),
  setting(
    'sequence',
    fc.array(knock, { minLength: 1, maxLength: 32 }).map(it => it.join(',')),
  ),
  setting('seq_timeout', fc.stringMatching(/^-?[0-9]{1,4}[a-z.]{0,2}$/)),
  fc
    .constantFrom('command', 'start_command')
    .chain(name => setting(name, fc.stringMatching(/^[!-~]([ -~]{0,40}[!-~])?$/))),
  setting('cmd_timeout', fc.stringMatching(/^[0-9]{1,4}$/)),
);

t.test('knockd reads the same', { skip: missing('namespaces') || knockd }, async t => {
  const world = await createWorld(t, { clients: [] });
  const folder = mkdtempSync(join(tmpdir(), 'knockd-nft-test-'));
  t.teardown(() => rmSync(folder, { recursive: true }));
  const file = join(folder, 'knockd.conf');
  const doors = fc.sample(door, 60);
  const text = doors
    .map(([name, ...settings]) => [`[${name}]`, ...settings, '# comment', ''].join('\n'))
    .join('\n');
  writeFileSync(file, text);
  const running = world.start('server', 'stdbuf', ['-oL', 'knockd', '-D', '-v', '-c', file, '-i', 'eth0']);
  await running.line(/^listening on eth0/);
  await running.stop();
  const told = running
    .lines()
    .flatMap(line => /^config: (?!new section|tcp flag)(.*)$/.exec(line)?.slice(1) ?? []);
  const wanted = read(text).doors.flatMap(({ name, settings }) =>
    [...settings]
      .sort(([, a], [, b]) => a.line - b.line)
      .map(([key, { value }]) => {
        if (key === 'start_command') return `${name}: ${key}: ${value}`;
        if (key !== 'sequence') return `${name}: ${key}: ${atoi(value)}`;
        const knocks = value
          .split(',')
          .map(it => `${atoi(it)}:${(it.split(':')[1] ?? 'tcp').trim().toLowerCase()}`);
        return `${name}: ${key}: ${knocks.join(',')}`;
      }),
  );
  t.equal(told.length, 240, running.lines().join('\n').slice(-500));
  t.same(told, wanted);
});
