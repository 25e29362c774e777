/** `npm run bench -- peers`: knockd-nft beside other ways to knock, in one run; writes the results into docs/. */
import { spawnSync } from 'node:child_process';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { cpus, loadavg, release, totalmem } from 'node:os';
import { join, resolve } from 'node:path';
import { VERSION } from '../../src/version.ts';
import { environment } from '../../test/kernel/process.ts';
import { createWorld } from '../../test/kernel/world.ts';
import { nft } from '../packets.ts';
import { guardedPort } from '../subjects.ts';
import { behind } from './firewalls.ts';
import { measureGrowth } from './growth.ts';
import {
  type Contender,
  measureDelay,
  measureFloods,
  measureOpens,
  measureRates,
  prepareClient,
} from './measures.ts';
import { pictures, section, withPeers } from './page.ts';
import type { Report } from './report.ts';
import { rivals } from './rivals.ts';

const PAGE = 'docs/benchmarks.md';

type Teardown = Parameters<typeof createWorld>[0];

export async function benchPeers(t: Teardown): Promise<void> {
  const start = performance.now();
  const [loadBefore = Number.NaN] = loadavg();
  const skipped: string[] = [];
  const skip = (what: string) => {
    console.log(`skipped ${what}`);
    skipped.push(what);
  };
  const able = rivals.filter(({ name, lacks }) => {
    const why = lacks();
    if (why) skip(`${name}: ${why}`);
    return !why;
  });
  const told = async <T>(what: string, part: Promise<T>): Promise<T> => {
    const result = await part;
    console.log(`${((performance.now() - start) / 1000).toFixed(0)} s: ${what}`);
    return result;
  };
  const growth = await told('growth', measureGrowth(able, skip));

  const world = await createWorld(t, { clients: ['unused', ...able.map(({ host }) => host)] });
  await prepareClient(world);
  const contenders: Contender[] = [];
  for (const rival of able) {
    await nft(world, rival.host, behind);
    try {
      contenders.push({ rival, standing: await rival.stand(world, rival.host, 1) });
    } catch (error) {
      skip(`${rival.name}: ${error instanceof Error ? error.message : error}`);
      continue;
    }
    await world.host(rival.host).listen(guardedPort(0));
  }
  const delay = await told('delay', measureDelay(world, contenders));
  const rates = await told('rates', measureRates(world, contenders));
  const opens = await told('who opens', measureOpens(world, contenders));
  const flood = await told('floods', measureFloods(world, contenders));
  const [loadAfter = Number.NaN] = loadavg();
  const report: Report = {
    date: new Date().toISOString().slice(0, 10),
    machine: `${cpus().length} ${cpus()[0]?.model ?? ''}, ${Math.round(totalmem() / 2 ** 30)} GiB, Linux ${release()}`,
    load: [loadBefore, loadAfter],
    seconds: (performance.now() - start) / 1000,
    versions: versions(),
    rivals: able.map(({ host, name, how }) => ({ host, name, how })),
    skipped,
    delay,
    rates,
    growth,
    flood,
    opens,
  };
  mkdirSync(resolve('build/peers'), { recursive: true });
  writeFileSync(resolve('build/peers/report.json'), JSON.stringify(report, null, 1));
  writePage(report);
}

/** Writes the page and its pictures into docs/, and prints the page's text. */
function writePage(report: Report): void {
  const page = withPeers(readFileSync(PAGE, 'utf8'), report);
  writeFileSync(PAGE, page);
  for (const [name, svg] of Object.entries(pictures(report))) writeFileSync(join('docs', name), svg);
  console.log(`\n${section(report)}\n${PAGE} and its pictures are written; ${report.skipped.length} skipped`);
}

function versions(): Readonly<Record<string, string>> {
  const of = (program: string, ...args: readonly string[]) => {
    const { stdout, stderr } = spawnSync(program, args, { env: environment, encoding: 'utf8' });
    return /\d+(\.\d+)+/.exec(`${stdout}${stderr}`)?.[0] ?? 'not here';
  };
  return {
    'knockd-nft': VERSION,
    'Node.js': process.versions.node,
    knockd: of('knockd', '-V'),
    fwknop: of('fwknopd', '-V'),
    iptables: of('iptables', '--version'),
    nft: of('nft', '--version'),
  };
}
