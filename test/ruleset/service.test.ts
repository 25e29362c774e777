/** What two configurations have in common is compiled once, and that changes nothing of what they mean. */
import assert from 'node:assert/strict';
import fc from 'fast-check';
import t from 'tap';
import { compile, programOf } from '../../src/ruleset/compile.ts';
import { decompile } from '../../src/ruleset/program.ts';
import { alike } from '../../src/ruleset/service.ts';
import { read, type Written, written } from './arbitrary.ts';

/** A file, and a later one: some services are gone, some have other times and answers, and there may be other settings. */
const saves: fc.Arbitrary<readonly [Written, Written]> = fc
  .tuple(
    written,
    written,
    fc.array(fc.constantFrom('same', 'changed', 'gone'), { minLength: 4, maxLength: 4 }),
  )
  .map(([before, other, [settings, ...fates]]) => {
    const services = Object.entries(before.services).flatMap(([name, service], index) => {
      const { sequence: _, sequences: __, ...rest } = other.services[name] ?? {};
      if (fates[index] === 'gone') return [];
      return [[name, fates[index] === 'same' ? service : { ...service, ...rest }] as const];
    });
    return [before, { ...(settings === 'same' ? before : other), services: Object.fromEntries(services) }];
  });

t.test('a file compiles to the same table beside the one before it as alone', t => {
  fc.assert(
    fc.property(saves, ([before, after]) => {
      const former = read(before);
      compile(former);
      const beside = compile(alike(read(after), former));
      assert.deepEqual(beside, compile(read(after)));
      assert.deepEqual(decompile(beside), programOf(read(after)));
    }),
    { numRuns: 100 },
  );
  t.end();
});

t.test('services that a save leaves alone keep their chains and sets as the very same values', t => {
  const ssh = { ports: [22], sequence: ['7001/tcp', '7003/tcp'], tokens: { alice: '5a'.repeat(32) } };
  const web = { ports: [443], sequence: ['7005/tcp', '7003/tcp'] };
  const former = read({ services: { ssh, web } });
  const before = compile(former);
  const after = compile(
    alike(read({ services: { ssh, web: { ...web, openFor: '1h' } }, public: [80] }), former),
  );
  const same = (kind: 'chains' | 'sets' | 'counters') =>
    after[kind].filter(it => before[kind].some(other => other === it)).map(({ name }) => name);
  t.strictSame(same('chains'), ['open_ssh', 'guard_ssh']);
  t.match(same('sets'), ['ssh_clients_ipv4', 'ssh_clients_ipv6', 'ssh_users_ipv4', 'ssh_users_ipv6']);
  t.strictSame(same('counters'), ['ssh_opened', 'ssh_accepted', 'ssh_refused']);
  t.end();
});
