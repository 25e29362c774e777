/** `check`: what a file means on this host, and what is wrong with it as values. */
import t from 'tap';
import { createWorld, missing } from '../kernel/world.ts';

const skip = missing('namespaces', 'knockd');
const services = { ssh: { ports: [22], sequence: [10000, 2345, 3456, 1234] } };

t.test('it names what "policy": "drop" would cut off, and what the other keys do here', { skip }, async t => {
  const world = await createWorld(t);
  for (const port of [22, 80, 8080]) await world.host('server').listen(port);
  world.write({
    ...{ services, policy: 'drop', public: [80], allow: ['192.0.2.0/24'] },
    ...{ interfaces: ['eth0', 'wg*'], hook: 'prerouting' },
  });
  const { status, stdout, stderr } = await world.knockd(['check']);
  t.equal(status, 0);
  t.match(stdout, /^ {2}policy: this closes listeners that "public" does not name: \S+ 8080\/tcp$/m);
  t.match(stdout, /^ {2}public: .* 80\/tcp$/m);
  t.match(stdout, /^ {2}allow: 192\.0\.2\.0\/24 reach every port/m);
  t.match(stdout, /^ {2}interfaces: guards only packets that come in by eth0, wg\*$/m);
  t.match(stdout, /^ {2}hook: /m);
  t.match(
    stderr,
    /warning: "interfaces": there is no interface "wg\*" at present, so nothing comes in there\n/,
  );
  const json = JSON.parse((await world.knockd(['check', '--json'])).stdout);
  t.match(json, { valid: true, policy: 'drop', hook: 'prerouting', absentInterfaces: ['wg*'] });
  t.match(json, { public: ['80/tcp'], allow: ['192.0.2.0/24'], interfaces: ['eth0', 'wg*'] });
  t.same([json.unguardedInterfaces, json.forwarded], [[], []]);
  t.match(json.cuts, [/ 8080\/tcp$/]);
  t.equal(json.cuts.length, 1);
  t.match(json.problems, [{ severity: 'warning', message: /^"interfaces": / }]);
});

t.test('a guarded port that Docker forwards needs the other hook, and check says so', { skip }, async t => {
  const world = await createWorld(t);
  const listen = `process.title = 'docker-proxy'; require('node:net').createServer().listen(8080, () => console.log('ready'))`;
  await world.start('server', process.execPath, ['-e', listen]).line(/ready/);
  const web = { services: { ...services, web: { ports: ['8080-8090/tcp'], sequence: [7001, 9002, 8003] } } };
  world.write(web);
  const { stderr } = await world.knockd(['check']);
  t.match(
    stderr,
    /warning: "hook": "input" does not see .* docker-proxy 8080\/tcp mostly are: "hook": "prerouting" does\n/,
  );
  t.same(JSON.parse((await world.knockd(['check', '--json'])).stdout).forwarded, ['docker-proxy 8080/tcp']);
  for (const other of [{ ...web, hook: 'prerouting' }, { services }]) {
    world.write(other);
    t.equal((await world.knockd(['check'])).stderr, '');
  }
});

t.test('interfaces of which none is here guard nothing, and check says so', { skip }, async t => {
  const world = await createWorld(t);
  world.write({ services, interfaces: ['enp3s0'] });
  const { stderr } = await world.knockd(['check']);
  t.match(stderr, /NOTHING IS GUARDED\n.*there is no interface "enp3s0"/);
});

t.test('with --json errors are values, too', { skip }, async t => {
  const world = await createWorld(t);
  const file = world.write(`{\n  "services": { "ssh": { "prots": [22], "sequence": [10000, 10000] } }\n}`);
  const { status, stdout, stderr } = await world.knockd(['check', '--json']);
  t.equal(status, 78);
  const { valid, problems, ...rest } = JSON.parse(stdout);
  t.same({ valid, ...rest }, { valid: false, file, services: [] });
  t.match(problems, [{ severity: 'error', file, line: 2, column: Number, message: String }]);
  t.equal(problems.length, stderr.trimEnd().split('\n').length, 'as many as lines');
});
