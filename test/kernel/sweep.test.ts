/** Port scans: over all ports, in any order, as often and as fast as they like, they open nothing. */
import { readFileSync } from 'node:fs';
import t from 'tap';
import { families, loadedWorld, patient, serviceOf, ssh, sshKnocks, status } from './loaded.ts';
import { createWorld, missing } from './world.ts';

const orders = ['rising', 'falling', 'shuffled'] as const;
const over = {
  rising: { tcp: 'ipv4', udp: 'ipv6' },
  falling: { tcp: 'ipv6', udp: 'ipv4' },
  shuffled: { tcp: 'ipv4', udp: 'ipv6' },
} as const;
const rounds = 8;
const services = {
  // knocks in the order of a scan are the easiest to meet
  ssh,
  rising: { ports: [23], sequence: [4000, 5000, 6000], ...patient },
  falling: { ports: [24], sequence: [60000, 50000, 40000], ...patient },
  short: { ports: [25], sequence: [30000, 31000], ...patient },
  dns: { ports: ['53/udp'], sequence: ['7001/udp', '7005/udp', '7009/udp'], ...patient },
  mixed: { ports: [80], sequence: ['8001/udp', 8005, '8009/udp'], ...patient },
};

for (const order of orders)
  t.test(
    `eight sweeps over all ports, ${order}, TCP and UDP, open nothing`,
    { skip: missing('namespaces', 'knockd') },
    async t => {
      const world = await loadedWorld(t, { services });
      const client = world.host('client');
      for (const protocol of ['tcp', 'udp'] as const) {
        const family = over[order][protocol];
        const sent = await client.sweep({ address: world.server[family], order, protocol, rounds, seed: 7 });
        t.equal(sent.packets, rounds * 65535, `${protocol}, ${family}: ${sent.seconds.toFixed(1)} s`);
        for (const [name, { opened, clients }] of Object.entries((await status(world)).services))
          t.ok(opened === 0 && clients.length === 0, `${name} stays closed`);
      }
    },
  );

t.test(
  'a sweep is no knock, but its sender may knock afterwards',
  { skip: missing('namespaces', 'knockd') },
  async t => {
    const world = await loadedWorld(t, { services });
    await world.host('server').listen(22);
    const client = world.host('client');
    for (const family of families) await client.sweep({ address: world.server[family], order: 'shuffled' });
    for (const family of families) {
      await client.knock(world.server[family], sshKnocks);
      t.equal(await client.connect(world.server[family], 22), 'open');
    }
    t.equal((await serviceOf(world, 'ssh')).opened, 2);
  },
);

for (const order of orders)
  t.test(
    `the control: eight sweeps, ${order}, open the article's ruleset`,
    { skip: missing('namespaces', 'nft') },
    async t => {
      const world = await createWorld(t);
      // eight sweeps may take longer than its opening
      await world.nft(readFileSync('test/kernel/article.nft', 'utf8').replace('timeout 10s', 'timeout 5m'));
      await world.host('server').listen(22);
      await world.host('client').sweep({ address: world.server.ipv4, order, rounds, seed: 7 });
      t.equal(await world.host('client').connect(world.server.ipv4, 22), 'open');
    },
  );
