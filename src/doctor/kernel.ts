import type { Facts } from './facts.ts';
import type { Checked, Finding } from './finding.ts';

const MODULES = 'modprobe -a nf_tables nft_ct nft_fib_inet nft_limit nft_log nft_reject_inet nft_socket';

/** Checks that we may ask the kernel, and that it has nf_tables and all features of our table. */
export function checkKernel({ kernel, host }: Pick<Facts, 'kernel' | 'host'>): Checked {
  return { name: 'kernel', fine: `Linux ${host.release} has what is needed`, findings: findings(kernel) };
}

function findings(kernel: Facts['kernel']): Finding[] {
  switch (kernel.is) {
    case 'not permitted':
      return [
        {
          id: 'not-permitted',
          severity: 'broken',
          what: 'the capability CAP_NET_ADMIN is missing',
          why: 'without it nothing can be loaded, and neither the table nor those of others can be looked at',
          mend: 'sudo knockd-nft doctor',
        },
      ];
    case 'absent':
      return [
        {
          id: 'no-nftables',
          severity: 'broken',
          what: `the kernel has no nf_tables here: ${kernel.reason}`,
          why: 'it is what does all the knocking',
          mend: MODULES,
        },
      ];
    case 'read':
      return kernel.lacking.map(lacking => ({
        id: 'kernel-feature',
        severity: 'broken',
        what: `the kernel lacks ${lacking}`,
        why: 'the table cannot be loaded without it; Linux 5.13 or newer has all that is needed',
        mend: MODULES,
      }));
  }
}
