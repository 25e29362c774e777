/** Writes the keys of man/knockd-nft.json.5 from the table of keys; build first. With `--check` it writes nothing, and
 * fails if they differ.
 */
import { readFileSync, writeFileSync } from 'node:fs';
import { configSchema } from '../build/src/config/schema.js';

const file = new URL('../man/knockd-nft.json.5', import.meta.url);
const begin = '.\\" begin: written by scripts/write-man.mjs from src/config/keys.ts\n';
const end = `.\\" end\n`;

/** A text for roff, in short lines: with an escaped backslash, hyphens that can be copied, and no requests. */
function roff(text) {
  const lines =
    text
      .replaceAll('\\', '\\e')
      .replaceAll('-', '\\-')
      .match(/\S.{0,75}(?!\S)/g) ?? [];
  return lines.map(line => line.replace(/^[.']/, '\\&$&'));
}

/** Every key with its path: `services.NAME.openFor`. */
function* keysOf({ properties, required = [] }, path = '') {
  for (const [name, schema] of Object.entries(properties)) {
    yield { path: path + name, schema, required: required.includes(name) };
    if (schema.properties) yield* keysOf(schema, `${path}${name}.`);
    if (schema.additionalProperties?.properties)
      yield* keysOf(schema.additionalProperties, `${path}${name}.NAME.`);
  }
}

/** The type of a key, in words. */
function typeOf({ type, enum: values, anyOf, items, minimum, maximum, minItems, maxItems }) {
  if (values)
    return values
      .map(value => JSON.stringify(value))
      .join(', ')
      .replace(/, (?=[^,]*$)/, ' or ');
  if (anyOf) return anyOf[0].type === 'number' ? 'duration' : 'port';
  if (type === 'boolean') return 'true or false';
  if (type === 'integer') return `integer from ${minimum} to ${maximum}`;
  if (type === 'array') {
    const count = maxItems ? `${minItems} to ${maxItems} ` : minItems ? 'one or more ' : '';
    return `array of ${count}${typeOf(items)}s`;
  }
  return type;
}

function entry({ path, schema, required }) {
  const byDefault = schema.default === undefined ? [] : [`default ${JSON.stringify(schema.default)}`];
  const kind = [typeOf(schema), ...(required ? ['required'] : byDefault)].join(', ');
  return [
    '.TP',
    `.B ${path.replace('NAME', '\\fINAME\\fB')}`,
    ...roff(`${kind[0].toUpperCase()}${kind.slice(1)}.`),
    '.br',
    ...roff(schema.description),
  ];
}

const page = readFileSync(file, 'utf8');
const entries = [...keysOf(configSchema())].flatMap(entry);
const [before, after] = [page.slice(0, page.indexOf(begin)), page.slice(page.indexOf(end))];
const written = `${before}${begin}${entries.join('\n')}\n${after}`;
if (process.argv.includes('--check')) process.exitCode = written === page ? 0 : 1;
else writeFileSync(file, written);
