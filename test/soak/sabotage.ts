/** Faults that a soak has to catch. Each breaks one promise behind the soak's back. */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { File } from './file.ts';
import { pause, type Visited } from './visitors.ts';

export const SABOTAGES = ['accept', 'forget', 'cut', 'descriptors', 'memory', 'files'] as const;
export type Sabotage = (typeof SABOTAGES)[number];

/** For the supervisor: Node.js runs a program in it that leaks. */
export function saboteurEnv(sabotage: Sabotage | undefined): Readonly<Record<string, string>> {
  if (sabotage !== 'descriptors' && sabotage !== 'memory') return {};
  const leak = fileURLToPath(new URL(`./leak-${sabotage}.js`, import.meta.url));
  return { NODE_OPTIONS: `--import ${leak}` };
}

interface Sabotaged extends Visited {
  readonly file: File;
  readonly folders: readonly string[];
}

/** Does it again and again until the end, since the supervisor mends some of it. */
export async function sabotage(which: Sabotage, { world, diary, file, folders }: Sabotaged): Promise<void> {
  for (let round = 0; !diary.ended.aborted; round++) {
    await pause(diary, 500);
    const table = `inet ${file.table}`;
    const nft = (script: string) => world.nft(script).catch(() => {}); // the table has another name just now
    if (which === 'accept') await nft(`insert rule ${table} input accept`);
    if (which === 'forget')
      for (const family of ['ipv4', 'ipv6']) await nft(`flush set ${table} ssh_clients_${family}`);
    if (which === 'cut') await world.knockd(['revoke', 'ssh', '--all', '--cut']);
    if (which === 'files') for (const folder of folders) writeFileSync(join(folder, `left-${round}`), '');
  }
}
