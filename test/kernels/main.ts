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
import { type Architecture, CannotHaveError, Debian, WANTED, type Wanted } from './debian.ts';
import { type Check, MACHINES, visit } from './guest.ts';
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
  if (process.arch !== 'x64') return `the programs are those of amd64, and this is ${process.arch}`;
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

/** The parts of a guest, by architecture. */
interface Parts {
  readonly archive: Debian;
  readonly root: string;
}

/** Those that were made already, or why they cannot be had. */
const made = new Map<Architecture, Promise<Parts>>();

function partsOf(architecture: Architecture): Promise<Parts> {
  const parts = made.get(architecture) ?? makeParts(architecture);
  made.set(architecture, parts);
  return parts;
}

async function makeParts(architecture: Architecture): Promise<Parts> {
  const none = lacking(MACHINES[architecture].qemu);
  if (none) throw new CannotHaveError(none);
  const folder = join(FOLDER, architecture);
  mkdirSync(folder, { recursive: true });
  const archive = new Debian(folder, architecture);
  const root = join(folder, 'root.cpio');
  await writeRoot(root, architecture, archive);
  return { archive, root };
}

async function check(wanted: Wanted): Promise<Report> {
  const { name, architecture, debian } = wanted;
  const date = new Date().toISOString().slice(0, 10);
  try {
    const { archive, root } = await partsOf(architecture);
    const kernel = archive.kernel(wanted);
    const { release, version } = kernel;
    const modules = join(FOLDER, architecture, `modules-${name}.cpio`);
    await writeModules(kernel, modules);
    const done = await visit(architecture, kernel.image, [root, modules], check => tell(name, check));
    const tools = { program: VERSION, ...done.versions, qemu: versionOf(MACHINES[architecture].qemu) };
    return { is: 'visited', name, debian, date, release, version, tools, visit: done };
  } catch (error) {
    if (!(error instanceof CannotHaveError)) throw error;
    return { is: 'skipped', name, debian, date, why: error.message };
  }
}

const counts = { passed: 0, failed: 0, skipped: 0 };
/** Kernels that were not available; not checks that are skipped because a kernel is too old or too new for them. */
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
  for (const wanted of WANTED.filter(({ name }) => names.length === 0 || names.includes(name))) {
    const report = await check(wanted);
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
