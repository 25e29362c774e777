/** The owner of a set's elements, by the set's name alone: the kernel keeps no other word about it. */
import t from 'tap';
import { compile } from '../../src/ruleset/compile.ts';
import { holds, ownerOf } from '../../src/ruleset/names.ts';
import { read } from './arbitrary.ts';

t.test('each set of ours is known by its name, with any names of services', t => {
  const names = ['ssh', 'knockers', 'started', 'ports', 'clients', 'x_users', 'allowed_ipv4'];
  const services = Object.fromEntries(
    names.map((name, index) => [
      name,
      { ports: [2000 + index], sequences: { alice: [7001 + 10 * index, 9001, 9003] } },
    ]),
  );
  const { sets } = compile(read({ services, hook: 'prerouting' }), '1.2.3');
  for (const set of sets) t.ok(holds(set.name), set.name);
  const held = (kind: string) => sets.filter(({ name }) => holds(name) === kind).length;
  t.equal(held('clients'), 2 * names.length);
  t.equal(held('users'), 2 * names.length);
  for (const kind of [
    'started',
    'progress',
    'knockers',
    'mistaken',
    'sessions',
    'syns',
    'admitted',
    'allowed',
  ])
    t.equal(held(kind), 2, kind);
  for (const kind of ['ports', 'guards', 'steps', 'arrivals']) t.equal(held(kind), 1, kind);
  for (const set of sets) t.equal(ownerOf(set) === 'packets', set.timeout, set.name);
  t.end();
});

t.test('a set that another program put into our table is none of ours', t => {
  for (const name of ['clients_ipv4', 'addr-set-sshd', 'steps_ipv4', 'ports2', 'constructor', ''])
    t.equal(holds(name), undefined, name);
  t.equal(ownerOf({ name: 'banned', timeout: true }), 'packets');
  t.equal(ownerOf({ name: 'banned', timeout: false }), 'program');
  t.end();
});
