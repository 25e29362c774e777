/** Another boot of this machine, as the units tell our programs of it. */

/** The environment of programs on the boot of that digit. */
export function bootOf(digit: string): { readonly KNOCKD_NFT_BOOT: string } {
  return { KNOCKD_NFT_BOOT: digit.repeat(32) };
}

/** Acts as on the boot of that digit. */
export function onBoot<T>(digit: string, act: () => T): T {
  const { KNOCKD_NFT_BOOT: before } = process.env;
  Object.assign(process.env, bootOf(digit));
  try {
    return act();
  } finally {
    if (before === undefined) delete process.env.KNOCKD_NFT_BOOT;
    else process.env.KNOCKD_NFT_BOOT = before;
  }
}
