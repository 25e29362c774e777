/** The manual pages say what there is, and print as they should. */
import { readFileSync } from 'node:fs';
import t from 'tap';
import { COMMANDS } from '../../src/cli/commands.ts';
import { FILE } from '../../src/config/keys.ts';
import { environment, lacking, run } from '../kernel/process.ts';

const pages = ['man/knockd-nft.8', 'man/knockd-nft.json.5'];
const source = (page: string) => readFileSync(page, 'utf8').replace(/\\(f[RIB]|(?=-))/g, '');
const shown = COMMANDS.filter(({ hidden }) => !hidden);

/** The text of each entry of a section, by the first word of its tag. */
function entries(section: string): Map<string, string> {
  const parts = section.split(/^(?=\.TP\n\.B [a-z]+(?: |$))|^\.SS .*\n/m);
  return new Map(parts.map(part => [part.match(/^\.TP\n\.B ([a-z]+)/)?.[1] ?? '', part]));
}

t.test('knockd-nft(8) has every command, and its options', async t => {
  const [, section = ''] = source('man/knockd-nft.8').match(/^\.SH COMMANDS\n([\s\S]*?)^\.SH/m) ?? [];
  const described = entries(section);
  for (const { usage, options = [] } of shown) {
    const [name = '', ...operands] = usage.split(' ');
    const entry = described.get(name) ?? '';
    const [, tag = ''] = entry.match(/^\.TP\n\.B (.*)$/m) ?? [];
    for (const operand of operands)
      for (const word of operand.match(/[a-z]+/g) ?? [])
        t.match(tag, new RegExp(`\\b${word.replace(/s$/, '')}`, 'i'), `${name}: ${word}`);
    const told = [...entry.matchAll(/^\.TP\n\.B (--[a-z-]+)/gm)].map(([, option]) => option);
    const all = options.filter(([, text]) => text !== undefined).map(([flags]) => flags.split(' ')[0]);
    t.same(told.sort(), all.sort(), `options of ${name}`);
  }
});

t.test('knockd-nft.json(5) has the table of keys as it is', async t => {
  const { status } = await run([process.execPath, 'scripts/write-man.mjs', '--check']);
  t.equal(status, 0, 'scripts/write-man.mjs would write the same');
  for (const key of Object.keys(FILE)) t.match(source('man/knockd-nft.json.5'), `\n.B ${key}\n`);
});

t.test('they print without a warning, on 80 columns', { skip: lacking('man') }, async t => {
  for (const page of pages) {
    const { status, stdout, stderr } = await run(['man', '--warnings', '--local-file', page], {
      env: { ...environment, LC_ALL: 'C.UTF-8', MANWIDTH: '80', MANPAGER: 'cat', MAN_KEEP_FORMATTING: '' },
    });
    t.equal(status, 0);
    t.equal(stderr, '', page);
    t.same(
      stdout.split('\n').filter(line => line.length > 80),
      [],
      `${page}: lines that are too long`,
    );
    t.match(stdout, /\nSEE ALSO\n/);
  }
});

t.test('mandoc has nothing against them', { skip: lacking('mandoc') }, async t => {
  for (const page of pages)
    t.same(await run(['mandoc', '-T', 'lint', page]), { status: 0, stdout: '', stderr: '' });
});
