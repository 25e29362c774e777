/** docs/kernels.md: what was checked on which kernel, and when. */
import type { Check, Visit } from './guest.ts';

/** The results for one kernel. */
export type Report = {
  /** As {@link Wanted} has them. */
  readonly name: string;
  readonly debian: string;
  readonly date: string;
} & (
  | { readonly is: 'skipped'; readonly why: string }
  | {
      readonly is: 'visited';
      readonly release: string;
      /** Of its package. */
      readonly version: string;
      /** The versions of the programs that checked it, as they print them. */
      readonly tools: Readonly<Record<'program' | 'node' | 'nft' | 'qemu', string>>;
      readonly visit: Visit;
    }
);

const SIGNS = { passed: '✓', failed: 'failed', skipped: '–' } as const;

const count = ({ checks }: Visit, is: keyof typeof SIGNS) => checks.filter(check => check.is === is).length;

const skipped = ({ is }: Check) => is === 'skipped';

/** The text of the page. */
export function page(reports: readonly Report[]): string {
  const visited = reports.flatMap(report => (report.is === 'visited' ? [report] : []));
  const names = [...new Set(visited.flatMap(({ visit }) => visit.checks.map(({ name }) => name)))];
  const reasons = [
    ...new Set(visited.flatMap(({ visit }) => visit.checks.filter(skipped).map(({ why }) => why))),
  ];
  const signOf = ({ visit }: (typeof visited)[number], name: string): string => {
    const check = visit.checks.find(check => check.name === name);
    if (!check) return 'not reached';
    return check.is === 'skipped' ? `${SIGNS.skipped} (${reasons.indexOf(check.why) + 1})` : SIGNS[check.is];
  };
  const rows = names.map(name => [name, ...visited.map(report => signOf(report, name))]);
  const kernels = reports.map(report =>
    report.is === 'skipped'
      ? [report.name, report.debian, `skipped: ${report.why}`, report.date, '', '', '', '', '', '', '', '']
      : [
          report.release,
          report.debian,
          report.version,
          report.date,
          `${report.visit.took} s${report.visit.broken === undefined ? '' : ', not to the end'}`,
          ...(['passed', 'failed', 'skipped'] as const).map(is => String(count(report.visit, is))),
          ...(['program', 'node', 'nft', 'qemu'] as const).map(tool => report.tools[tool]),
        ],
  );
  return `# Kernels

Written by \`npm run test:kernels\`. It boots Debian's kernels in an emulated machine of two processors, and does the same checks
on each with real packets: hosts are network namespaces, and nft is the witness. The numbers of skipped checks lead to the
reasons below the table.

${table(['kernel', 'Debian', 'package', 'checked', 'in', 'passed', 'failed', 'skipped', 'program', 'Node.js', 'nft', 'QEMU'], kernels)}

${table(['check', ...visited.map(({ release }) => shortly(release))], rows)}
${reasons.map((reason, index) => `\n(${index + 1}) ${reason}\n`).join('')}`;
}

/** `6.12.118`, or `6.12.118 arm64`. */
function shortly(release: string): string {
  const version = release.split(/-|\+/)[0] ?? '';
  return release.endsWith('arm64') ? `${version} arm64` : version;
}

function table(head: readonly string[], rows: readonly (readonly string[])[]): string {
  const line = (cells: readonly string[]) =>
    `| ${cells.map(cell => cell.replaceAll('|', '\\|')).join(' | ')} |`;
  return [line(head), `|${'---|'.repeat(head.length)}`, ...rows.map(line)].join('\n');
}
