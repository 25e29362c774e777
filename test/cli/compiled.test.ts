/** The program started with what V8 compiled of it before, as the units and the packages start it. */
import {
  cpSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import t, { type Test } from 'tap';
import { CLIENT_COMMANDS } from '../../src/cli/client-commands.ts';
import { VERSION } from '../../src/version.ts';
import { run } from '../kernel/process.ts';
import { missing } from '../kernel/world.ts';

const built = { skip: missing('knockd') };

/** A copy of what is installed. */
function installed(t: Test) {
  const folder = mkdtempSync(join(tmpdir(), 'knockd-nft-compiled-'));
  t.teardown(() => rmSync(folder, { recursive: true }));
  for (const name of ['dist', 'compiled']) cpSync(name, join(folder, name), { recursive: true });
  symlinkSync(resolve('node_modules'), join(folder, 'node_modules'));
  const start = join(folder, 'compiled/knockd-nft.cjs');
  return {
    program: join(folder, 'dist/knockd-nft.cjs'),
    kept: readdirSync(join(folder, 'compiled'))
      .filter(name => name.startsWith('code'))
      .map(name => join(folder, 'compiled', name)),
    run: (...words: readonly string[]) => run([process.execPath, start, ...words]),
  };
}

t.test('V8 takes it, with the flags of each unit', built, async t => {
  const { kept, program } = installed(t);
  const units = readdirSync('systemd').filter(name => name.endsWith('.service'));
  const flags = units.flatMap(name =>
    [...readFileSync(join('systemd', name), 'utf8').matchAll(/bin\/node (--.*?) \//g)].map(
      match => match[1] ?? '',
    ),
  );
  t.ok(flags.length > 0);
  const ask = `
    const { readFileSync } = require('node:fs');
    const [program, kept] = process.argv.slice(1);
    const source = require('node:module').wrap(readFileSync(program, 'latin1').replace(/^#!/, '//'));
    const cachedData = readFileSync(kept).subarray(32);
    console.log(new (require('node:vm').Script)(source, { cachedData }).cachedDataRejected);`;
  for (const flag of new Set(['', ...flags])) {
    const words = flag.split(' ').filter(word => word !== '');
    const file = kept.find(path => path.endsWith(`/code${words.join('')}`)) ?? '';
    const { stdout } = await run([process.execPath, ...words, '-e', ask, program, file]);
    t.equal(stdout, 'false\n', flag);
  }
});

t.test('another program of the same length is not taken for it', built, async t => {
  const { program, run } = installed(t);
  t.equal((await run('--version')).stdout, `${VERSION}\n`);
  const text = readFileSync(program, 'utf8');
  const other = text.replace(`VERSION="${VERSION}"`, 'VERSION="9.9.9"');
  t.equal(other.length, text.length);
  writeFileSync(program, other);
  t.equal((await run('--version')).stdout, '9.9.9\n');
});

t.test("a client runs without the server's program", built, async t => {
  const { program, run } = installed(t);
  rmSync(program);
  for (const { usage } of CLIENT_COMMANDS) {
    const [name = ''] = usage.split(' ');
    t.match(await run(name, '--help'), { status: 0, stdout: new RegExp(`^Usage: knockd-nft ${name} `) });
  }
  t.not((await run('check')).status, 0, 'the control');
});

t.test('the program runs without it, and with one that is cut short', built, async t => {
  const { kept, run } = installed(t);
  for (const file of kept) truncateSync(file, 1000);
  t.match(await run('--version'), { status: 0, stdout: `${VERSION}\n`, stderr: '' });
  for (const file of kept) rmSync(file);
  t.match(await run('--version'), { status: 0, stdout: `${VERSION}\n`, stderr: '' });
});
