import { fileURLToPath } from 'node:url';
import type { World } from '../test/kernel/world.ts';
import type { Measured, Plan } from './runner.ts';

/** Has the runner carry out the plan on a host of the world. */
export async function measure(world: World, host: string, plan: Plan): Promise<readonly Measured[]> {
  const runner = fileURLToPath(new URL('./runner.js', import.meta.url));
  const { status, stdout, stderr } = await world.run(host, process.execPath, [runner], {
    input: JSON.stringify(plan),
    timeout: 600_000,
  });
  if (status !== 0) throw new Error(`runner: ${stderr}`);
  return JSON.parse(stdout) as Measured[];
}
