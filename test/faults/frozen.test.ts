/** A supervisor that stands still while things happen. */
import t from 'tap';
import { skip, ssh, supervised, until } from '../supervisor/supervised.ts';
import { cannotFreeze, frozen } from './cgroup.ts';

const moved = { ...ssh, ports: [2222], openFor: '5m' };
const isGuarded = (port: number) => (rules: string) => rules.includes(`tcp . ${port} : goto guard_ssh`);

t.test(
  'a supervisor whose cgroup was frozen catches up when it is thawed, and lets in no revoked client',
  { skip: skip || cannotFreeze() },
  async t => {
    const {
      world,
      supervisor,
      environment: env,
      event,
    } = await supervised(t, { services: { ssh: { ...ssh, openFor: '5m' } } });
    const { ipv4, ipv6 } = world.client;
    for (const address of [ipv4, ipv6]) {
      const { status, stderr } = await world.knockd(['grant', 'ssh', address, '--for', '5m'], { env });
      t.equal(status, 0, stderr);
      await event('granted');
    }
    await frozen(t, supervisor.pid, async () => {
      const { status, stdout, stderr } = await world.knockd(['revoke', 'ssh', ipv6], { env });
      t.equal(status, 0, `no command waits for it: ${stdout}${stderr}`);
      await world.nft('flush ruleset');
      world.write({ services: { ssh: moved } });
    });
    await until(() => world.list(), isGuarded(2222));
    const { stdout } = await world.knockd(['status', '--json'], { env });
    const { services, inSync } = JSON.parse(stdout);
    t.ok(inSync);
    t.match(services.ssh.clients, [{ address: ipv4 }]);
    t.equal(services.ssh.clients.length, 1, 'a revoked client is not in');
    t.equal((await supervisor.stop()).status, 0);
  },
);
