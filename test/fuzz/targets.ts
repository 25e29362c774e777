/** The targets of fuzzing: the files of targets/, but for the planted fault. */
import { spawnSync } from 'node:child_process';
import { pathToFileURL } from 'node:url';
import { targetPath } from './instrument.ts';

export const TARGETS = ['config', 'hosts', 'import', 'netlink', 'nftables', 'notes'] as const;

/**
 * The fault that an input shows in the code as it is compiled, so that its stack leads to the source; else what was seen. In a process
 * of its own: koffi's types exist once in each.
 */
export function explained(name: string, input: Buffer, fault: unknown): string {
  const script = `const { fuzz } = await import(process.argv[1]); await fuzz(Buffer.from(process.argv[2], 'hex'));`;
  const words = ['--enable-source-maps', '--input-type=module', '-e', script];
  const target = pathToFileURL(targetPath(name)).href;
  const { status, stderr } = spawnSync(process.execPath, [...words, target, input.toString('hex')], {
    encoding: 'utf8',
  });
  const seen = fault instanceof Error ? (fault.stack ?? fault.message) : String(fault);
  return status === 0 ? `only after other inputs: ${seen}` : stderr.trim();
}
