import { endianness } from 'node:os';

/** This machine cannot be a server; the message says why. Nothing was changed. */
export class UnsupportedError extends Error {
  override readonly name = 'UnsupportedError';
}

/** Why this machine cannot speak to the kernel by netlink; undefined if it can. Clients need no netlink. */
export async function unsupported(): Promise<string | undefined> {
  const { platform, arch } = process;
  const here = 'these commands work here: knock, proxy, page, check, render and import';
  if (platform !== 'linux')
    return `only Linux is supported, since its kernel does the knocking, and this is ${platform}; ${here}`;
  if (endianness() === 'BE')
    return `big-endian machines such as this one (${arch}) are not supported; ${here}`;
  try {
    await Promise.all([import('koffi'), import('netlink/dist/raw.js')]);
    return undefined;
  } catch (error) {
    const [reason] = String(error instanceof Error ? error.message : error).split('\n');
    return `the native parts of the npm packages koffi and netlink cannot be loaded for ${platform} ${arch} (${reason}); ${here}`;
  }
}
