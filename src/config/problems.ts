/** A place in the file. Both numbers count from 1, columns in UTF-16 units, as editors do. */
export interface Position {
  readonly line: number;
  readonly column: number;
}

/** One thing that is wrong (`error`: the file is refused) or doubtful (`warning`). */
export interface Problem {
  readonly severity: 'error' | 'warning';
  /** The file or the environment variable with the problem. */
  readonly file: string;
  /** null, together with `column`, for a problem of the file itself or of a variable. */
  readonly line: number | null;
  readonly column: number | null;
  /** The mistake, and what is expected instead. It never contains a sequence. */
  readonly message: string;
}

/** The line that people read, and that editors jump to: `FILE:LINE:COLUMN: warning: MESSAGE`. */
export function formatProblem(problem: Problem): string {
  const place = problem.line === null ? '' : `:${problem.line}:${problem.column}`;
  const severity = problem.severity === 'warning' ? 'warning: ' : '';
  return `${problem.file}${place}: ${severity}${problem.message}`;
}

/** A warning about the file as a whole. */
export function warningOf(file: string, message: string): Problem {
  return { severity: 'warning', file, line: null, column: null, message };
}

/** Negative if `a` stands before `b` in the file. */
export function comparePositions(a: Position, b: Position): number {
  return a.line - b.line || a.column - b.column;
}

/** Errors before warnings, each in the order of the file, those without a line first. */
export function sortProblems(problems: readonly Problem[]): readonly Problem[] {
  return problems.toSorted(
    (a, b) =>
      Number(a.severity === 'warning') - Number(b.severity === 'warning') ||
      (a.line ?? 0) - (b.line ?? 0) ||
      (a.column ?? 0) - (b.column ?? 0),
  );
}

/** The configuration is refused. `message` has one line for each problem: errors, then warnings. */
export class ConfigError extends Error {
  override readonly name = 'ConfigError';
  /** At least one error, sorted as by {@link sortProblems}. */
  readonly problems: readonly Problem[];
  /** Files, besides the configuration, whose change may solve the problem. */
  readonly secretFiles: readonly string[];
  /** Another try may succeed without a change of any file, which a disk or another machine may have failed to read. */
  readonly mayPass: boolean;

  constructor(problems: readonly Problem[], secretFiles: readonly string[] = [], mayPass = false) {
    const sorted = sortProblems(problems);
    super(sorted.map(formatProblem).join('\n'));
    this.problems = sorted;
    this.secretFiles = secretFiles;
    this.mayPass = mayPass;
  }
}

/** The file cannot be read at all. */
export class UnreadableError extends ConfigError {
  /** The file does not exist. */
  readonly missing: boolean;
  /** This user may not read the file. The configuration itself may be fine. */
  readonly permission: boolean;
  /** The reason without the file's name. */
  readonly reason: string;

  constructor(
    file: string,
    reason: string,
    { missing, permission }: { readonly missing: boolean; readonly permission: boolean },
  ) {
    super([{ severity: 'error', file, line: null, column: null, message: reason }], [], !missing);
    this.missing = missing;
    this.permission = permission;
    this.reason = reason;
  }
}
