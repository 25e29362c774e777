/** Each system call of the loader fails once in turn; $KNOCKD_NFT_FAULTS=all tries all that faults.ts knows. */
import { mkdirSync } from 'node:fs';
import { dirname, join } from 'node:path';
import t from 'tap';
import { cannotInject, chooseFaults, countOwnCalls, faultText, runWith } from './faults.ts';
import { ssh } from './loaded.ts';
import { createWorld, missing } from './world.ts';

const skip = missing('namespaces', 'nft', 'knockd') || cannotInject();

const guarding = (port: number) => ({ services: { ssh: { ...ssh, ports: [port] } } });
const isGuarded = (port: number) => (rules: string) => rules.includes(`tcp . ${port} : goto guard_ssh`);

t.test('whatever call of load fails, what it says is true', { skip }, async t => {
  const world = await createWorld(t);
  const folder = dirname(world.configFile);
  const env = { RUNTIME_DIRECTORY: join(folder, 'run'), STATE_DIRECTORY: join(folder, 'state') };
  for (const path of Object.values(env)) mkdirSync(path);
  world.write(guarding(3000));
  const calls = await countOwnCalls(world, ['load'], env);
  // from the first question to the kernel to the last look whether all is done
  const sends = Array.from({ length: calls.get('sendmsg')?.[1] ?? 0 }, (_, index) => index + 1);
  const faults = [
    ...chooseFaults(calls),
    ...sends.map(when => ({ syscall: 'sendmsg', errno: 'ENOMEM', when })),
  ];
  let port = 3000;
  let met = 0;
  for (const fault of faults) {
    const what = faultText(fault);
    world.write(guarding(++port));
    const before = await world.list();
    const result = await runWith(world, fault, ['load'], env);
    const after = await world.list();
    if (result.met) met++;
    else t.comment(`${what}: not met`);
    const said = `${what}: ${result.status} ${result.stderr}`;
    if (result.status === 0) t.ok(isGuarded(port)(after), `${said}: it is loaded`);
    else if (/nothing was changed/.test(result.stderr)) t.equal(after, before, said);
    else t.ok(after === before || isGuarded(port)(after), `${said}: all or nothing`);
    // Node.js itself, or the loading of its modules
    if (result.status > 128 || /^ {4}at /m.test(result.stderr))
      t.comment(`${what}: no sentence, ${result.status}`);
    t.equal((await world.knockd(['load'], { env })).status, 0, `${what}: and once more it goes well`);
  }
  t.ok(met * 4 >= faults.length * 3, `${met} of ${faults.length} faults were met`);
});
