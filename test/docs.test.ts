/** The documents name nothing that is not there. */
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import t from 'tap';
import { COMMANDS } from '../src/cli/commands.ts';
import { readHosts } from '../src/client/hosts.ts';
import { parseConfig } from '../src/config/parse.ts';
import { configSchema } from '../src/config/schema.ts';
import { EVENTS } from '../src/events/event.ts';
import { FEATURES, type Feature, FIRST_LINUX } from '../src/nftables/feature.ts';
import { VERSION } from '../src/version.ts';

const HANDBOOK = 'docs/operating.md';
const INSIDE = 'docs/how-it-works.md';
const pages = readdirSync('docs', { recursive: true })
  .map(String)
  .filter(name => name.endsWith('.md'));
const FILES = ['README.md', ...pages.map(name => `docs/${name}`)];
const text = new Map(FILES.map(file => [file, readFileSync(file, 'utf8')]));
const inside = text.get(INSIDE) ?? '';

/** Blocks between lines of three backticks. */
const BLOCK = /^```(\w*)\n([\s\S]*?)^```$/gm;

/** The texts that are written as code within sentences. */
function spans(file: string): readonly string[] {
  const prose = (text.get(file) ?? '').replace(BLOCK, '').replace(/^ {4}.*$/gm, '');
  return [...prose.matchAll(/`([^`]+)`/g)].map(([, span = '']) => span.replaceAll('\n', ' '));
}

/** The names that GitHub gives to the headings of a document. */
function anchors(file: string): readonly string[] {
  const headings = readFileSync(file, 'utf8')
    .replace(BLOCK, '')
    .matchAll(/^#+ (.*)$/gm);
  return [...headings].map(([, heading = '']) =>
    heading
      .toLowerCase()
      .replace(/[^\p{L}\p{N} _-]/gu, '')
      .replaceAll(' ', '-'),
  );
}

t.test('every link within the project leads somewhere', async t => {
  for (const [file, content] of text)
    for (const [, link = ''] of content.replace(BLOCK, '').matchAll(/\]\((?!https?:)([^)\s]+)\)/g)) {
      const [path, anchor] = link.split('#');
      const to = path ? join(dirname(file), path) : file;
      t.ok(existsSync(to) && (anchor === undefined || anchors(to).includes(anchor)), `${file}: ${link}`);
    }
});

t.test('no line of a sentence is wider than 132 columns', async t => {
  for (const [file, content] of text) {
    const byHand = content.replace(BLOCK, '').replace(/^<!-- written by [\s\S]*?^<!-- end of /m, '');
    const lines = byHand.split('\n').filter(line => !/^(\||\s{4})/.test(line));
    t.same(
      lines.filter(line => line.length > 132),
      [],
      file,
    );
  }
});

t.test('packages have the names that npm run deb and its like give them now', async t => {
  for (const [file, content] of text)
    for (const [name, version] of content.matchAll(/\bknockd-nft[_-](\d+\.\d+\.\d+)/g))
      t.equal(version, VERSION, `${file}: ${name}`);
});

t.test('every test that is named exists', async t => {
  for (const file of FILES)
    for (const span of spans(file).filter(it => /^test\/.*\.ts$/.test(it)))
      t.ok(existsSync(span), `${file}: ${span}`);
});

t.test('every command that is shown exists, with its options', async t => {
  const GLOBAL = ['--config', '--json', '--help', '--version'];
  const known = new Map(
    COMMANDS.map(({ usage, options = [] }) => [
      usage.split(' ')[0],
      [...GLOBAL, ...options.flatMap(([flags]) => flags.match(/--[a-z-]+/g) ?? [])],
    ]),
  );
  // at the beginning of a line or behind what calls it, up to a comment or the next command
  const call = /(?:^\s*|\$ |sudo |ProxyCommand |exec \S+ )knockd-nft ([a-z]+)\b([^|;&#\n]*)/gm;
  for (const [file, content] of text) {
    const indented = content.match(/^ {4}.*$/gm) ?? [];
    const fenced = [...content.matchAll(BLOCK)].map(([, , block = '']) => block);
    for (const code of [...spans(file), ...indented, ...fenced])
      for (const [shown, command, rest = ''] of code.matchAll(call))
        for (const option of rest.match(/(?<= )--[a-z-]+/g) ?? [''])
          t.ok(known.get(command)?.concat('').includes(option), `${file}: ${shown}`);
  }
});

t.test('the commands of the first page are among those that were typed', async t => {
  const [, page = ''] =
    text.get('README.md')?.match(/^## Hide ssh in ten minutes$([\s\S]*?)From then on:$/m) ?? [];
  const typed = [...page.matchAll(/^ {4}(\S.*?)(?: {2,}#.*)?$/gm)].map(([, command = '']) => command);
  t.not(typed.length, 0);
  for (const command of typed) t.match(text.get('docs/getting-started.md'), `$ ${command}\n`);
});

t.test('the handbook has every command, with every option that its help shows', async t => {
  const handbook = text.get(HANDBOOK) ?? '';
  for (const { usage, options = [], hidden } of COMMANDS) {
    if (hidden) continue;
    const [name] = usage.split(' ');
    t.match(handbook, new RegExp(`^\\| \`${name}[ \`]`, 'm'), `a row for ${name}`);
    for (const [flags, shown] of options)
      if (shown !== undefined) t.match(handbook, flags.split(' ')[0], `${name} ${flags}`);
  }
});

t.test('the handbook and the manual page have every event and every file', async t => {
  const manual = readFileSync('man/knockd-nft.8', 'utf8');
  for (const name of Object.keys(EVENTS)) {
    t.match(text.get(HANDBOOK), `\n| \`${name}\` | `);
    t.match(manual, new RegExp(`^\\.BR? .*\\b${name}\\b`, 'm'), name);
  }
  for (const [, path = ''] of text.get(HANDBOOK)?.matchAll(/^\| `(\/\S+\w)` \|/gm) ?? [])
    if (!path.endsWith('.schema.json')) t.match(manual.replaceAll('\\', ''), `.I ${path}\n`);
});

t.test('the handbook has every feature of the kernel, and every document the same first Linux', async t => {
  const features: readonly Feature[] = Object.values(FEATURES);
  for (const { what, modules, since, without = 'no table can be loaded' } of features)
    t.match(text.get(HANDBOOK), `\n| ${what} | ${modules.join(', ')} | ${since} | ${without} |\n`);
  const floors = FILES.flatMap(file =>
    [...(text.get(file) ?? '').matchAll(/Linux\s+([\d.]+)\s+or\s+newer/g)].map(
      ([, floor]) => `${file}: ${floor}`,
    ),
  );
  t.ok(floors.length > 0);
  t.strictSame(
    floors,
    floors.map(floor => floor.replace(/[\d.]+$/, FIRST_LINUX)),
  );
});

t.test('every example of a file is one that is accepted', async t => {
  const folder = mkdtempSync(join(tmpdir(), 'knockd-nft-test-'));
  t.teardown(() => rmSync(folder, { recursive: true }));
  const hosts = join(folder, 'hosts.json');
  for (const [file, content] of text)
    for (const [, language, example = ''] of content.matchAll(BLOCK)) {
      if (language !== 'jsonc') continue;
      if (example.includes('"services"')) {
        t.same(parseConfig(example, file, {}).warnings, [], file);
      } else {
        writeFileSync(hosts, example, { mode: 0o600 });
        t.not(readHosts(hosts).length, 0, file);
      }
    }
});

t.test('every key of the configuration that is named exists', async t => {
  const keys = JSON.stringify(configSchema());
  for (const file of FILES.filter(name => name !== INSIDE)) // it names functions, too
    for (const span of spans(file)) {
      const [, quoted, dotted] = span.match(/^"([$\w]+)":|^(?:[a-z*]+\.)*([a-z]+[A-Z]\w*)$/) ?? [];
      const key = quoted ?? dotted;
      if (key !== undefined) t.match(keys, `"${key}":`, `${file}: ${span}`);
    }
});

/** Files of the sources and of the tests, from here. */
const sources = ['src', 'test'].flatMap(folder =>
  readdirSync(folder, { recursive: true }).map(path => join(folder, String(path))),
);

t.test('the way through the sources names every folder, and no file that is not there', async t => {
  for (const { name } of readdirSync('src', { withFileTypes: true }).filter(entry => entry.isDirectory()))
    t.match(inside, `| \`${name}/\` |`);
  for (const span of spans(INSIDE))
    if (/^[\w/-]+\.ts$/.test(span))
      t.ok(
        sources.some(path => `/${path}`.endsWith(`/${span}`)),
        span,
      );
});

t.test('the walks through the sources name functions where they are', async t => {
  const steps = [...inside.matchAll(/^\| `([\w/-]+\.ts)` \| `(\w+)` \|/gm)];
  t.not(steps.length, 0);
  for (const [, file = '', name = ''] of steps)
    t.match(
      readFileSync(join('src', file), 'utf8'),
      new RegExp(`^export (?:async )?function ${name}\\b`, 'm'),
      file,
    );
});

/** The files of this project that a file imports, also only types from, and also when it runs. */
function importsOf(path: string): readonly string[] {
  const found = readFileSync(path, 'utf8').matchAll(/(?:\bfrom |\bimport\()'(\.[^']+)'/g);
  return [...found].map(([, to = '']) => join(dirname(path), to));
}

t.test('each floor of the sources imports only from those below', async t => {
  const rows = inside.matchAll(/^\| (\d) \| `(\w+)\/` \|/gm);
  const floors = new Map([...rows].map(([, floor, folder = '']) => [folder, Number(floor)]));
  for (const path of sources) {
    const [top, own = '', file] = path.split('/');
    if (top !== 'src' || file === undefined || !path.endsWith('.ts')) continue;
    for (const to of importsOf(path)) {
      const [, other = ''] = to.split('/');
      if (other === own || other === 'version.ts') continue;
      t.ok((floors.get(other) ?? 99) < (floors.get(own) ?? 0), `${path} imports from src/${other}`);
    }
  }
});

t.test('the first file of each room says what lives there, and on which floor it is', async t => {
  for (const [, floor = '', room = ''] of inside.matchAll(/^\| (\d) \| `(\w+)\/` \|/gm)) {
    const [first = ''] = readdirSync(join('src', room))
      .filter(name => name.endsWith('.ts'))
      .toSorted();
    const [line = '', , third] = readFileSync(join('src', room, first), 'utf8').split('\n');
    t.match(line, new RegExp(`^// ${room}/ .`), `${room}/${first}`);
    const from = floor === '0' ? 'from no other room' : 'only from rooms on lower floors';
    t.equal(third, `// Floor ${floor}: it imports ${from}.`, `${room}/${first}`);
  }
});

t.test('no file needs itself, through whichever others, not even for a type', async t => {
  const imported = new Map(
    sources.filter(path => path.endsWith('.ts')).map(path => [path, importsOf(path)] as const),
  );
  for (const path of imported.keys()) {
    const seen = new Set<string>();
    const left = [...(imported.get(path) ?? [])];
    for (let next = left.pop(); next !== undefined; next = left.pop())
      if (!seen.has(next)) left.push(...(seen.add(next) && (imported.get(next) ?? [])));
    t.notOk(seen.has(path), path);
  }
});

t.test('the test of the first steps types the commands of the first page, in their order', async t => {
  const use = (text.get('README.md') ?? '').match(/^Hide ssh on a server[\s\S]*?(?=^For Fedora)/m)?.[0] ?? '';
  const commands = [...use.matchAll(/^ {4}([^#\s].*?)(?: +#.*)?$/gm)].map(([, command = '']) => command);
  t.ok(commands.length > 8, `${commands.length} commands`);
  const typed = [...(text.get('docs/getting-started.md') ?? '').matchAll(/^ {4}\w+@\w+:\S+\$ (.*)$/gm)].map(
    ([, command = '']) => command,
  );
  let from = 0;
  for (const command of commands) {
    const at = typed.indexOf(command, from);
    t.ok(at >= 0, command);
    from = Math.max(from, at);
  }
});

/** `FILE NAME` for each name that a file imports from another; all words after a dot may be of a file that it imports whole. */
function importedNames(path: string): readonly string[] {
  const text = readFileSync(path, 'utf8');
  const words = [...text.matchAll(/\.(\w+)/g)].map(([, word = '']) => word);
  const clauses = [
    ...text.matchAll(/^(?:import|export) ([^;']*?) from '(\.[^']+)'/gm),
    ...text.matchAll(/(\{[^{}]*\}) = await import\('(\.[^']+)'\)/g),
    ...text.matchAll(/()\bimport\('(\.[^']+)'\)/g),
  ].map(([, clause = '', to = '']) => ({ clause, to: join(dirname(path), to) }));
  // programs of tests that run elsewhere, as text
  const elsewhere = [...text.matchAll(/import (\{[^}]*\}) from \$\{built\('([^']+)\.js'\)\}/g)].map(
    ([, clause = '', to]) => ({ clause, to: `src/${to}.ts` }),
  );
  return [...clauses, ...elsewhere].flatMap(({ clause, to }) => {
    const names = [...clause.matchAll(/(\w+)(?: as \w+)?/g)].map(([, name = '']) => name);
    return (clause === '' || clause.startsWith('*') ? words : names).map(name => `${to} ${name}`);
  });
}

t.test('no file exports a name that no other file imports', async t => {
  const declared = /^export (?:async )?(?:const|function\*?|class|interface|type) (\w+)/gm;
  const code = [
    ...sources,
    ...readdirSync('bench', { recursive: true }).map(name => join('bench', String(name))),
  ];
  const used = new Set(code.filter(path => path.endsWith('.ts')).flatMap(importedNames));
  for (const path of code.filter(it => it.startsWith('src/') && it.endsWith('.ts')))
    for (const [, name = ''] of readFileSync(path, 'utf8').matchAll(declared))
      t.ok(used.has(`${path} ${name}`), `${path}: ${name}`);
});
