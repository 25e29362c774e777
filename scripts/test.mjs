/**
 * Runs every compiled test file, three at a time, each a plain program that prints TAP. Words after the command
 * choose files: `npm test -- kernel/ config`. With `--long` first, it runs the files that take too long for every time
 * (`npm run test:living` and its like). Ends with the line `N passed, N failed, N skipped`.
 *
 * `tap run` cannot take its place: it puts a loader of its own into each Node.js process that a test starts, by NODE_OPTIONS,
 * thus also into the program under test, which then takes more than twice as long to start, and more memory.
 *
 * A file that leaves anything behind has failed: a process, a folder, a note in the folders of the host. The home of
 * the user is a temporary one, so that the notes of programs there go with it.
 */
import { spawn } from 'node:child_process';
import { chmodSync, existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { homedir, tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { build } from 'esbuild';

const root = dirname(dirname(fileURLToPath(import.meta.url)));
const cache = process.env.npm_config_cache ?? join(homedir(), '.npm');
const jobs = 3; // of two cores: much of the time is waiting
const isLong = process.argv[2] === '--long';
// seconds until a file has hung, since a busy machine is slow; tap's own is 30
const timeout = isLong ? 4 * 3600 : 1800;
const slow = ['attacks/', 'soak/', 'faults/', 'kernel/', 'system/', 'supervisor/']; // these go first, so that no long one runs alone at the end

/** The sources' list, not the build's: there may be a file whose source is gone. */
function testFiles([first, ...rest]) {
  const [ending, words] =
    first === '--long' ? ['.long.ts', rest] : ['.test.ts', first ? [first, ...rest] : []];
  return readdirSync(join(root, 'test'), { recursive: true })
    .map(String)
    .filter(name => name.endsWith(ending))
    .filter(name => words.length === 0 || words.some(word => join('test', name).includes(word)))
    .sort((one, other) => isSlow(other) - isSlow(one) || (one < other ? -1 : 1));
}

const isSlow = name => Number(slow.some(folder => name.startsWith(folder)));

/** Processes that a test file started, or that these started, as lines of text by their ids: they inherit its TMPDIR. */
function processesOf(folder) {
  const found = new Map();
  for (const pid of readdirSync('/proc').filter(name => /^\d+$/.test(name))) {
    try {
      if (!readFileSync(`/proc/${pid}/environ`, 'latin1').split('\0').includes(`TMPDIR=${folder}`)) continue;
      found.set(Number(pid), readFileSync(`/proc/${pid}/cmdline`, 'utf8').replaceAll('\0', ' ').trim());
    } catch {} // it has ended, or is another user's
  }
  return found;
}

/** The files in the folders that the whole machine shares, and in that of the clone. */
function hostNotes() {
  const of = folder => (existsSync(folder) ? readdirSync(folder).map(name => join(folder, name)) : []);
  return [
    ...of(root).filter(path => !path.endsWith('/.tap')), // tap's own
    ...of('/run/netns'),
    ...of('/run/knockd-nft'),
    ...of('/var/lib/knockd-nft'),
    ...of('/etc/knockd-nft.d'),
  ];
}

/** Things that a test file left behind, a line for each. Processes get a moment to end by themselves; then they are ended. */
async function leftovers(folder, before) {
  for (let left = 50; left > 0 && processesOf(folder).size > 0; left--) await sleep(100);
  const processes = [...processesOf(folder)].map(([pid, command]) => {
    process.kill(pid, 'SIGKILL');
    return `left a process: ${command}`;
  });
  const files = readdirSync(folder).map(name => `left a file: $TMPDIR/${name}`);
  rmSync(folder, { recursive: true, force: true });
  const notes = hostNotes().filter(path => !before.includes(path));
  return [...processes, ...files, ...notes.map(path => `left a file: ${path}`)];
}

/** Everything that a program printed, and its exit status. */
function run(file, folder, home) {
  const env = {
    ...process.env,
    TAP_TIMEOUT: String(timeout),
    TMPDIR: folder,
    HOME: home,
    npm_config_cache: cache,
  };
  const hung = { timeout: (timeout + 60) * 1000, killSignal: 'SIGKILL' };
  const child = spawn(process.execPath, ['--enable-source-maps', file], { cwd: root, env, ...hung });
  let tap = '';
  let errors = '';
  child.stdout.setEncoding('utf8').on('data', text => {
    tap += text;
  });
  child.stderr.setEncoding('utf8').on('data', text => {
    errors += text;
    if (isLong) process.stderr.write(text); // it says how far it is
  });
  return new Promise(resolve => {
    child.once('close', (status, signal) => resolve({ tap, errors, status: status ?? signal }));
  });
}

/** tap's own summary, `# { total: 5, pass: 3, fail: 1, skip: 1 }`; a file that ended without it has failed. */
function count({ tap, status }) {
  const summary = tap.match(/^# \{(.*)\}$/m)?.[1] ?? '';
  const of = name => Number(summary.match(new RegExp(`${name}: (\\d+)`))?.[1] ?? 0);
  const failed = of('fail');
  return {
    passed: of('pass'),
    failed: failed === 0 && (status !== 0 || !summary) ? 1 : failed,
    skipped: of('skip') + of('todo'),
  };
}

/** TAP without the parts that passed. */
function failures({ tap, errors, status }) {
  const dull = /^\s*(ok \d+.*|# Subtest.*|\d+\.\.\d+|TAP version 14)?$/;
  const lines = tap.split('\n').filter(line => !dull.test(line));
  return [...lines, errors.trimEnd(), `ended with ${status}`].filter(Boolean).join('\n');
}

/** Names of skipped tests, by the reason that they give. */
function skips({ tap }) {
  return [...tap.matchAll(/^\s*(?:not )?ok \d+ - (.*?) # (?:SKIP|TODO) ?(.*)$/gim)].map(
    ([, name, reason]) => ({ name, reason: reason || 'no reason given' }),
  );
}

const total = { passed: 0, failed: 0, skipped: 0 };
const skipped = new Map();

async function report(name) {
  const file = join(root, 'build/test', name.replace(/\.ts$/, '.js'));
  const start = performance.now();
  const folder = mkdtempSync(join(tmpdir(), 'test-'));
  const home = mkdtempSync(join(tmpdir(), 'home-'));
  for (const path of [folder, home]) chmodSync(path, 0o1777); // some tests are another user for a while
  const before = hostNotes();
  const result = existsSync(file)
    ? await run(file, folder, home)
    : { tap: '', errors: `${file} is not built`, status: 1 };
  const counts = count(result);
  rmSync(home, { recursive: true, force: true });
  const left = await leftovers(folder, before);
  counts.failed += left.length;
  result.errors += left.map(line => `\n${line}`).join('');
  for (const key of Object.keys(total)) total[key] += counts[key];
  for (const { name: test, reason } of skips(result))
    skipped.set(reason, [...(skipped.get(reason) ?? []), `test/${name}: ${test}`]);
  const seconds = ((performance.now() - start) / 1000).toFixed(1);
  const verdict = counts.failed ? 'not ok' : 'ok';
  const text = Object.entries(counts).map(([key, number]) => (number ? `, ${number} ${key}` : ''));
  console.log(`${verdict} test/${name} (${seconds} s${text.join('')})`);
  if (counts.failed) console.log(failures(result).replace(/^/gm, '    '));
}

/** The agent, which each host of each test starts, as one file: it takes half the time of its modules. */
await build({
  absWorkingDir: root,
  entryPoints: ['test/kernel/agent.ts'],
  outfile: 'build/test/kernel/agent.js',
  bundle: true,
  platform: 'node',
  format: 'esm',
  packages: 'external',
  logLevel: 'error',
});

const queue = testFiles(process.argv.slice(2));
await Promise.all(
  Array.from({ length: jobs }, async () => {
    for (let name = queue.shift(); name; name = queue.shift()) await report(name);
  }),
);

for (const [reason, tests] of skipped)
  console.log(`\nskipped: ${reason}\n${tests.map(test => `  ${test}`).join('\n')}`);
console.log(`\n${total.passed} passed, ${total.failed} failed, ${total.skipped} skipped`);
process.exitCode = total.failed > 0 || total.passed + total.skipped === 0 ? 1 : 0;
