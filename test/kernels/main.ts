/**
 * `npm run test:kernels`: the same checks on each of Debian's kernels, in an emulated machine; docs/kernels.md has the
 * results. Words choose kernels, as `5.10` or `newest`; the page has the others as they were when they were checked in this clone, and
 * is left alone until each was. A kernel that cannot be had is skipped and counted, and with `--require` it is a failure.
 */
import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { VERSION } from '../../src/version.ts';
import { environment, lacking } from '../kernel/process.ts';
import { CannotHaveError, Debian, WANTED, type Wanted } from './debian.ts';
import { type Check, visit } from './guest.ts';
import { NEEDED, writeModules, writeRoot } from './image.ts';
import { page, type Report } from './page.ts';

const PAGE = 'docs/kernels.md';
const FOLDER = resolve('build/kernels');

const words = process.argv.slice(2);
const required = words.includes('--require');
const names = words.filter(word => word !== '--require');
const unknown = names.filter(name => !WANTED.some(wanted => wanted.name === name));
if (unknown.length > 0) {
  console.error(
    `no such kernel: ${unknown.join(', ')}; there are ${WANTED.map(({ name }) => name).join(', ')}`,
  );
  process.exit(64);
}

const versionOf = (program: string) =>
  /\d+(\.\d+)+/.exec(
    spawnSync(program, ['--version'], { env: environment, encoding: 'utf8' }).stdout ?? '',
  )?.[0] ?? '';

/** Why nothing can be checked here at all, or false. */
function unable(): string | false {
  if (process.arch !== 'x64') return `the kernels are those of amd64, and this is ${process.arch}`;
  const programs = lacking(...NEEDED);
  if (programs) return programs;
  return !existsSync('dist/knockd-nft.cjs') && 'dist/knockd-nft.cjs is not built';
}

function tell(kernel: string, { name, is, why }: Check): void {
  const sign = { passed: 'ok', failed: 'not ok', skipped: 'skipped' }[is];
  console.log(`${sign} ${kernel} ${name}${is === 'skipped' ? `: ${why}` : ''}`);
  if (is === 'failed') console.log(why);
}

const reportOf = ({ name }: Wanted) => join(FOLDER, `report-${name}.json`);

async function check(wanted: Wanted, archive: Debian, root: string): Promise<Report> {
  const { name, debian } = wanted;
  const date = new Date().toISOString().slice(0, 10);
  const tools = {
    program: VERSION,
    node: process.versions.node,
    nft: versionOf('nft'),
    qemu: versionOf('qemu-system-x86_64'),
  };
  try {
    const kernel = archive.kernel(wanted);
    const { release, version } = kernel;
    const modules = join(FOLDER, `modules-${name}.cpio`);
    await writeModules(kernel, modules);
    const done = await visit(kernel.image, [root, modules], check => tell(name, check));
    return { is: 'visited', name, debian, date, release, version, tools, visit: done };
  } catch (error) {
    if (!(error instanceof CannotHaveError)) throw error;
    return { is: 'skipped', name, debian, date, why: error.message };
  }
}

const counts = { passed: 0, failed: 0, skipped: 0 };
/** What could not be had; not what is skipped since that kernel is too old or too new for it. */
let absent = 0;

function skip(what: string, why: string): void {
  console.log(`skipped ${what}: ${why}`);
  counts.skipped++;
  absent++;
}

function writePage(): void {
  const left = WANTED.filter(wanted => !existsSync(reportOf(wanted))).map(({ name }) => name);
  if (left.length > 0) console.log(`${PAGE} stays as it is until these are checked, too: ${left.join(', ')}`);
  else {
    const reports = WANTED.map(wanted => JSON.parse(readFileSync(reportOf(wanted), 'utf8')) as Report);
    writeFileSync(PAGE, page(reports));
  }
}

async function run(): Promise<void> {
  const why = unable();
  if (why) return skip('all kernels', why);
  mkdirSync(FOLDER, { recursive: true });
  let archive: Debian;
  try {
    archive = new Debian(FOLDER);
  } catch (error) {
    if (!(error instanceof CannotHaveError)) throw error;
    return skip('all kernels', error.message);
  }
  const root = join(FOLDER, 'root.cpio');
  await writeRoot(root);
  for (const wanted of WANTED.filter(({ name }) => names.length === 0 || names.includes(name))) {
    const report = await check(wanted, archive, root);
    writeFileSync(reportOf(wanted), JSON.stringify(report));
    if (report.is === 'skipped') {
      skip(wanted.name, report.why);
      continue;
    }
    const { checks, broken, took } = report.visit;
    for (const { is } of checks) counts[is]++;
    if (broken !== undefined) {
      counts.failed++;
      console.log(`not ok ${wanted.name} (${report.release}): ${broken}`);
    }
    console.log(`${wanted.name}: ${report.release}, ${took} s`);
  }
  writePage();
}

await run();
console.log(`\n${counts.passed} passed, ${counts.failed} failed, ${counts.skipped} skipped`);
process.exitCode = counts.failed > 0 || (required && absent > 0) ? 1 : 0;
