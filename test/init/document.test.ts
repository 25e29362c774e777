/** A first configuration is the commented example with other values, and reads as what it was made of. */

import { readFileSync } from 'node:fs';
import fc from 'fast-check';
import t from 'tap';
import { parseConfig } from '../../src/config/parse.ts';
import { formatPortRange } from '../../src/inet/port.ts';
import { isPackaged, packagedConfiguration, writeDraft } from '../../src/init/document.ts';

const example = readFileSync('config/knockd-nft.json', 'utf8');
const ports = (...list: readonly number[]) =>
  list.map(port => ({ protocol: 'tcp' as const, first: port, last: port }));

t.test('the comments of the example stay, except those that are true only of the example', async t => {
  const text = writeDraft(example, {
    services: [{ name: 'ssh', ports: ports(22), sequence: [5000, 4000, 6000] }],
    allow: [],
    hook: 'input',
    closed: 'drop',
    schema: null,
  });
  const changed = text.split('\n').filter(line => !example.includes(`${line}\n`));
  t.equal(changed.length, 3, changed.join('\n'));
  t.notMatch(text, /CHANGE THEM|everybody knows|\$schema/i);
  t.match(text, '"sequence": [5000, 4000, 6000],');
});

t.test('the file says what was chosen, whatever that was', async t => {
  const draft = fc.record({
    names: fc.uniqueArray(fc.stringMatching(/^[a-z][a-z0-9_-]{0,31}$/), { minLength: 1, maxLength: 3 }),
    allow: fc.subarray(['192.0.2.7', '2001:db8::/32']),
    hook: fc.constantFrom('input' as const, 'prerouting' as const),
    closed: fc.constantFrom('drop' as const, 'reject' as const, 'prohibited' as const),
    looks: fc.array(fc.constantFrom(undefined, 'drop' as const, 'prohibited' as const), {
      minLength: 3,
      maxLength: 3,
    }),
    schema: fc.constantFrom(null, '/a "b" $& c'),
  });
  fc.assert(
    fc.property(draft, it => {
      const services = it.names.map((name, index) => ({
        name,
        ports: ports(10 + index),
        sequence: [5000 + index, 4000, 6000],
        // the first service has that of the file
        ...(index > 0 && it.looks[index] && { closed: it.looks[index] }),
      }));
      const { config, warnings } = parseConfig(writeDraft(example, { ...it, services }), 'file', {});
      t.same(warnings, []);
      t.same(
        config.services.map(({ name, ports, sequences }) => [
          name,
          ports,
          sequences[0]?.knocks.map(({ port }) => port),
        ]),
        services.map(({ name, ports, sequence }) => [name, ports, sequence]),
      );
      t.same(
        config.services.map(({ closed }) => closed),
        services.map(({ closed }) => closed ?? it.closed),
      );
      t.equal(config.hook, it.hook);
      t.equal(config.allow.length, it.allow.length);
      t.equal(config.policy, 'accept');
    }),
    { numRuns: 50 },
  );
});

t.test('ranges and UDP ports are written as the file has them', async t => {
  const range = [{ protocol: 'udp' as const, first: 6000, last: 6010 }, ...ports(22)];
  const services = [{ name: 'game', ports: range, sequence: [5000, 4000, 7000] }];
  const text = writeDraft(example, { services, allow: [], hook: 'input', closed: 'drop', schema: null });
  t.match(text, '"ports": ["6000-6010/udp", 22]');
  t.same(parseConfig(text, 'file', {}).config.services[0]?.ports.map(formatPortRange), [
    '6000-6010/udp',
    '22/tcp',
  ]);
});

t.test("the package's file guards nothing, and is known again until somebody changes it", async t => {
  const packaged = packagedConfiguration(example, [4711, 8150, 3020, 9999]);
  t.same(parseConfig(packaged, 'file', {}).config.services, []);
  t.ok(isPackaged(packaged, example));
  t.notOk(isPackaged(packaged.replace('//"ports": [22]', '//"ports": [2222]'), example));
  t.notOk(isPackaged(`${packaged}\n`, example));
  t.notOk(isPackaged(packaged.replaceAll(/\/\/(?=["}])/g, ''), example), 'nor when it guards ssh');
  t.notOk(isPackaged('', example));
  const other = example
    .replace(/ {2}\/\/ true: .*\n.*"metrics".*\n/, '')
    .replace('How many bits', 'The bits');
  t.notSame(other.split('\n').length, example.split('\n').length, 'with fewer keys');
  t.ok(isPackaged(packagedConfiguration(other, [4711, 8150, 3020, 9999]), example), 'by another version');
  t.notOk(isPackaged(packaged.replace('// "policy": "accept"', '"policy": "drop"'), example));
});
