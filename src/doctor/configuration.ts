import { formatProblem, type Problem } from '../config/problems.ts';
import type { Config } from '../config/types.ts';
import type { Unreadable } from '../host/readable.ts';
import { count } from '../ruleset/describe.ts';
import { shellWord } from '../terminal/shell.ts';
import type { Facts, FileFacts } from './facts.ts';
import type { Checked, Finding } from './finding.ts';

/** Checks the file: its rights, its mistakes and its weaknesses. */
export function checkConfiguration({ file, config }: Pick<Facts, 'file' | 'config'>): Checked {
  return {
    name: 'configuration',
    fine: `${file.path}: ${count(config?.services.length ?? 0, 'service')}`,
    findings: [
      ...(guardsNothing(config)
        ? [
            ...file.problems.filter(({ line }) => line === null).map(problem => finding(problem, file)),
            nothingGuarded(file.path),
          ]
        : file.problems.map(problem => finding(problem, file))),
      ...(file.unreadable ? [hiddenFromServices(file.unreadable)] : []),
    ],
  };
}

function hiddenFromServices({ file, what, mend }: Unreadable): Finding {
  return {
    id: 'services-cannot-read',
    severity: 'broken',
    what: `${file}: ${what}`,
    why: 'a load by hand is taken back, and at the next boot the file cannot be loaded',
    mend,
  };
}

/** Whether there is neither a service nor a policy. Then we report no other problem of the file. */
function guardsNothing(config: Config | undefined): boolean {
  return config !== undefined && config.services.length === 0 && config.policy === 'accept';
}

function nothingGuarded(path: string): Finding {
  return {
    id: 'nothing-guarded',
    severity: 'broken',
    what: `${path} has no service: nothing is guarded`,
    why: 'every port is open unless something else closes it',
    mend: `sudoedit ${shellWord(path)}  # "services"; or "knockd-nft init", which writes a file with one`,
  };
}

function finding(problem: Problem, file: FileFacts): Finding {
  const edit = `sudoedit ${shellWord(file.path)}`;
  const what = formatProblem(problem);
  if (problem.file !== file.path)
    return {
      id: 'environment-invalid',
      severity: 'broken',
      what,
      why: 'the variable overrides the file, and with a wrong value nothing can be loaded',
      mend: `unset ${problem.file}`,
    };
  if (problem.severity === 'error')
    return {
      id: 'configuration-invalid',
      severity: 'broken',
      what,
      why: 'nothing can be loaded from it: the configuration that was loaded before stays in force, if there was one',
      mend: problem.line === null ? mendFile(file) : edit,
    };
  if (problem.line === null && ((file.mode ?? 0) & 0o004) !== 0)
    return {
      id: 'file-readable',
      severity: 'risk',
      what,
      why: 'the sequences are secrets: anyone who knows one gets in',
      mend: `chmod o-r ${shellWord(file.path)}`,
    };
  return {
    id: 'configuration-weak',
    severity: 'note',
    what,
    why: 'it works, but protects less than it could',
    mend: edit,
  };
}

/** The command for a problem without a line, which is about the file itself. */
function mendFile({ path, mode, owner, user }: FileFacts): string {
  const word = shellWord(path);
  if (mode === undefined) return `knockd-nft --config ${word} init`;
  if ((mode & 0o022) !== 0) return `chmod go-w ${word}`;
  if (owner !== 0 && owner !== user) return `chown root ${word}`;
  return user === 0 ? `ls -l ${word}` : `sudo knockd-nft --config ${word} doctor`;
}
