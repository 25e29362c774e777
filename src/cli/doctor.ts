import { configPath } from '../config/read.ts';
import { examine } from '../doctor/doctor.ts';
import type { Checked, Finding, Severity } from '../doctor/finding.ts';
import { readFacts } from '../doctor/read.ts';
import { type Paint, painter } from '../terminal/paint.ts';
import { textWidth, wrap } from '../terminal/wrap.ts';
import { type Context, EXIT } from './context.ts';

/** `doctor`: checks all that could keep clients out or let strangers in, and says what to do about it. */
export async function doctorCommand({ config, env, json, print }: Context): Promise<number> {
  const path = configPath(config, env);
  const facts = await readFacts(path, env);
  const checked = examine(facts);
  const findings = checked.flatMap(it => it.findings);
  if (json) print(JSON.stringify({ findings, checked: checked.map(({ name }) => name) }));
  else for (const line of text(checked, painter(env), textWidth(process.stdout))) print(line);
  if (facts.kernel.is === 'not permitted') return EXIT.NOT_PERMITTED;
  return findings.some(({ severity }) => severity === 'broken') ? EXIT.FAILED : EXIT.DONE;
}

const COLOURS = { ok: 'green', broken: 'red', risk: 'yellow', note: 'cyan' } as const;
/** As wide as the widest of those words. */
const INDENT = '        ';

function text(checked: readonly Checked[], paint: Paint, width: number): string[] {
  return checked.flatMap(({ name, fine, findings }) =>
    findings.length > 0
      ? findings.flatMap(finding => findingLines(finding, paint, width))
      : [`${mark('ok', paint)}${name}: ${fine}`],
  );
}

function findingLines({ severity, what, why, mend }: Finding, paint: Paint, width: number): string[] {
  const room = Math.max(20, width - INDENT.length);
  const [first = '', ...more] = wrap(what, room);
  return [
    `${mark(severity, paint)}${first}`,
    ...[...more, ...wrap(why, room)].map(line => `${INDENT}${line}`),
    // never wrapped, because users copy it
    `${INDENT}${paint('bold', mend)}`,
  ];
}

function mark(word: 'ok' | Severity, paint: Paint): string {
  return `${paint(COLOURS[word], word)}${INDENT.slice(word.length)}`;
}
