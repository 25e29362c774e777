import { FEATURES, FIRST_LINUX, featureText, NEEDED_MODULES } from '../nftables/feature.ts';
import type { Facts } from './facts.ts';
import type { Checked, Finding } from './finding.ts';

const MODPROBE = `modprobe -a ${NEEDED_MODULES.join(' ')}`;

/** Checks that we may ask the kernel, and that it has nf_tables and all features of our table. */
export function checkKernel({ kernel, host }: Pick<Facts, 'kernel' | 'host'>): Checked {
  return { name: 'kernel', fine: `Linux ${host.release} has what is needed`, findings: findings(kernel) };
}

function lack(feature: string): Finding {
  return {
    id: 'kernel-feature',
    severity: 'broken',
    what: `the kernel lacks ${feature}`,
    why: `the table cannot be loaded without it; Linux ${FIRST_LINUX} or newer has all that is needed`,
    mend: MODPROBE,
  };
}

const NO_DIAGNOSTICS: Finding = {
  id: 'kernel-feature',
  severity: 'note',
  what: `the kernel lacks ${featureText(FEATURES.tcp_diag)}`,
  why: FEATURES.tcp_diag.without,
  mend: `modprobe -a ${FEATURES.tcp_diag.modules.join(' ')}`,
};

function findings(kernel: Facts['kernel']): Finding[] {
  switch (kernel.is) {
    case 'not permitted':
      return [
        {
          id: 'not-permitted',
          severity: 'broken',
          what: 'the capability CAP_NET_ADMIN is missing',
          why: 'without it nothing can be loaded, and doctor cannot read any table',
          mend: 'sudo knockd-nft doctor',
        },
      ];
    case 'absent':
      return [
        {
          id: 'no-nftables',
          severity: 'broken',
          what: `the kernel has no nf_tables here: ${kernel.reason}`,
          why: 'nf_tables does all the knocking',
          mend: MODPROBE,
        },
      ];
    case 'read':
      return [...kernel.lacking.map(lack), ...(kernel.canCut ? [] : [NO_DIAGNOSTICS])];
  }
}
