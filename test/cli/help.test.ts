/** `--help` as it is read: on a screen of 24 lines, with something to type. */
import { resolve } from 'node:path';
import t, { type Test } from 'tap';
import { COMMANDS } from '../../src/cli/commands.ts';
import { run } from '../kernel/process.ts';
import { missing } from '../kernel/world.ts';

const built = { skip: missing('knockd') };
const shown = COMMANDS.filter(({ hidden }) => !hidden);

async function help(t: Test, ...words: readonly string[]): Promise<string[]> {
  const { status, stdout, stderr } = await run([process.execPath, resolve('dist/knockd-nft.cjs'), ...words]);
  t.equal(status, 0, words.join(' '));
  t.equal(stderr, '');
  const lines = stdout.trimEnd().split('\n');
  t.same(
    lines.filter(line => line.length > 80),
    [],
    `${words.join(' ')}: lines that are too long`,
  );
  return lines;
}

t.test('the help of every command fits a screen and has an example', built, async t => {
  for (const { usage, example, options = [] } of shown) {
    const [name = ''] = usage.split(' ');
    const lines = await help(t, name, '--help');
    t.ok(lines.length <= 24, `${name}: ${lines.length} lines`);
    t.match(lines[0], `Usage: knockd-nft ${name}`);
    const [example_, rest] = lines.slice(lines.indexOf('Example:') + 1);
    t.equal(example_, `  ${example}`);
    t.ok(example.split(/[ ']/).includes(name), 'it is of this command');
    t.equal(rest, undefined);
    for (const [flags, text] of options)
      t.equal(
        lines.some(line => line.startsWith(`  ${flags}`)),
        text !== undefined,
        flags,
      );
    for (const option of ['--json', '-h, --help', '-c, --config'])
      t.ok(
        lines.some(line => line.startsWith(`  ${option}`)),
        `${name}: ${option}`,
      );
  }
});

t.test('the help of the program has each command in a line, in groups', built, async t => {
  const lines = await help(t, '--help');
  t.ok(lines.length <= 46, `${lines.length} lines`);
  const groups = new Map<string, string[]>();
  let group: string[] = [];
  for (const line of lines.slice(lines.indexOf('Options:') + 1)) {
    const [, heading] = line.match(/^(\S.*):$/) ?? [];
    if (heading !== undefined) {
      group = [];
      groups.set(heading, group);
    } else if (line !== '') group.push(line.trim().split(' ')[0] ?? '');
  }
  const expected = new Map<string, string[]>();
  for (const { group, usage } of shown)
    expected.set(group, [...(expected.get(group) ?? []), usage.split(' ')[0] ?? '']);
  expected.get('More')?.push('help');
  t.same([...groups], [...expected], 'no line is broken, and nothing is hidden');
});

t.test('wrong words get a message that says what to type', built, async t => {
  const called = (...words: readonly string[]) =>
    run([process.execPath, resolve('dist/knockd-nft.cjs'), ...words]);
  t.match(await called('statsu'), {
    status: 64,
    stderr: /^knockd-nft: unknown command 'statsu'\n.*status.*\n"knockd-nft --help" shows/,
  });
  t.match(await called('statsu', 'grant'), { status: 64, stderr: /'statsu'\n.*Did you mean status/ });
  for (const words of [[], ['--config', 'status'], ['-c', 'status']]) {
    const { status, stderr } = await called(...words);
    t.equal(status, 64);
    for (const { usage } of shown) t.match(stderr, new RegExp(`^  ${usage.split(' ', 1)[0]} `, 'm'));
  }
  for (const { usage, example } of shown) {
    const [name = ''] = usage.split(' ');
    const { status, stderr } = await called(name, '--bogus');
    t.equal(status, 64);
    t.match(stderr, `knockd-nft: unknown option '--bogus'\nfor example: ${example}\n`);
  }
});
