/** The demands of OpenMetrics 1.0 on a text, as far as ours can break them: each fault in a sentence. */
export function faultsOf(text: string): string[] {
  const faults: string[] = [];
  if (!text.endsWith('\n# EOF\n')) faults.push('it does not end with # EOF');
  const families = new Map<string, { type?: string; help?: string; unit?: string }>();
  let current = '';
  for (const line of text.split('\n').slice(0, -2)) {
    const [, word, name = '', rest = ''] = /^# (TYPE|HELP|UNIT) ([a-z_:][a-z0-9_:]*) (.+)$/.exec(line) ?? [];
    if (word) {
      if (name !== current && families.has(name)) faults.push(`${name} is told in two places`);
      current = name;
      const family = families.get(name) ?? {};
      const key = word.toLowerCase() as 'type' | 'help' | 'unit';
      if (family[key] !== undefined) faults.push(`${name} has two lines of ${word}`);
      families.set(name, { ...family, [key]: rest });
      if (key === 'unit' && !name.endsWith(`_${rest}`)) faults.push(`${name} does not end with its unit`);
      if (name.endsWith('_total')) faults.push(`the family ${name} has a suffix of samples`);
      continue;
    }
    const [, sample = '', value = ''] =
      /^([a-z_:][a-z0-9_:]*)(?:\{[a-z_]+="[^"\\\n]*"\})? (-?\d+(?:\.\d+)?(?:e[+-]?\d+)?)$/.exec(line) ?? [];
    if (!sample) faults.push(`no line of OpenMetrics: ${line}`);
    const { type } = families.get(current) ?? {};
    const wanted = type === 'counter' ? `${current}_total` : current;
    if (sample !== wanted) faults.push(`${sample} stands under ${current}, a ${type}`);
    if (type === 'counter' && Number(value) < 0) faults.push(`${sample} counts down`);
  }
  return faults;
}
