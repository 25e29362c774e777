/** Commands name the modules that a kernel lacks, and change nothing. These checks come first, while no module is in use. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { release } from 'node:os';
import { dirname } from 'node:path';
import { type TestContext, test } from 'node:test';
import { NEEDED_MODULES } from '../../src/nftables/feature.ts';
import { PATIENCE, services, world } from './hosts.ts';

const LACK = '/etc/modprobe.d/lack.conf';
const files = readFileSync(`/lib/modules/${release()}/modules.dep`, 'utf8');

/** Why the kernel cannot be made to lack the module; undefined if it lacks it from now on. */
function take(module: string): string | undefined {
  if (!files.includes(`/${module}.ko:`)) return 'built in';
  if (!existsSync(`/sys/module/${module}`)) return undefined;
  const { status, stderr } = spawnSync('rmmod', [module], { encoding: 'utf8' });
  return status === 0 ? undefined : `it cannot be taken out: ${stderr.trim()}`;
}

/** Runs `use` on a kernel without these modules. */
async function without(t: TestContext, modules: readonly string[], use: () => Promise<void>): Promise<void> {
  mkdirSync(dirname(LACK), { recursive: true });
  writeFileSync(LACK, modules.map(module => `install ${module} /bin/false\n`).join(''));
  try {
    const why = modules.map(take).find(reason => reason !== undefined);
    if (why === undefined) await use();
    else t.skip(why);
  } finally {
    writeFileSync(LACK, '');
  }
}

const run = (...args: readonly string[]) => world.knockd(args, { timeout: PATIENCE });
const names = (module: string) => new RegExp(`modules? .*\\b${module}\\b`);

test('lacking: without nf_tables check goes on, load and doctor name it, and nothing is changed', async t => {
  world.write({ services });
  await without(t, ['nf_tables'], async () => {
    const checked = await run('check');
    assert.equal(checked.status, 0, checked.stderr);
    for (const command of ['load', 'unload', 'status']) {
      const { status, stderr } = await run(command);
      assert.equal(status, 1, `${command}: ${stderr}`);
      assert.match(stderr, /lacks nf_tables \(module nf_tables/, command);
      assert.doesNotMatch(stderr, /\n +at /, command);
    }
    const doctor = await run('doctor');
    assert.match(doctor.stdout, /no nf_tables/);
    assert.match(doctor.stdout, /modprobe -a nf_tables/);
    assert.equal(existsSync('/sys/module/nf_tables'), false);
  });
});

for (const module of NEEDED_MODULES.filter(name => name !== 'nf_tables'))
  test(`lacking: without ${module} a load names it, and changes nothing`, async t => {
    await without(t, [module], async () => {
      const { status, stderr } = await run('load');
      assert.equal(status, 1, stderr);
      assert.match(stderr, names(module));
      assert.match(stderr, /nothing was changed\n$/);
      assert.doesNotMatch(await world.list(), /table/);
    });
  });
