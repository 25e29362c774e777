/** The targets of fuzzing: the files of targets/, but for the planted fault. */
import { pathToFileURL } from 'node:url';
import { type TargetModule, targetPath } from './instrument.ts';

export const TARGETS = ['config', 'hosts', 'import', 'netlink', 'nftables', 'notes'] as const;

/** The fault that an input shows in the code as it is compiled, so that its stack leads to the source; else what was seen. */
export async function explained(name: string, input: Buffer, fault: unknown): Promise<string> {
  const { fuzz } = (await import(pathToFileURL(targetPath(name)).href)) as TargetModule;
  const textOf = (error: unknown) =>
    error instanceof Error ? (error.stack ?? error.message) : String(error);
  try {
    await fuzz(input);
  } catch (error) {
    return textOf(error);
  }
  return `only after other inputs: ${textOf(fault)}`;
}
