/** Floods and odd segments of hping3, and tokens as attackers send them: shut ports stay shut, and clients come in meanwhile. */
import t from 'tap';
import { tokenDatagram, tokenRequest } from '../../src/token/packet.ts';
import { families } from '../kernel/loaded.ts';
import { lacking } from '../kernel/process.ts';
import { GOOD, token } from '../kernel/token-world.ts';
import { createTarget, needs, PORTS, SEQUENCES, type Target } from './target.ts';

const skip = needs.skip || lacking('hping3');

async function hping(target: Target, words: string): Promise<string> {
  const { stdout, stderr } = await target.run('client', 'hping3', [
    '-q',
    ...words.split(' '),
    target.server.ipv4,
  ]);
  return `${stdout}${stderr}`;
}

t.test('hping3 opens nothing, and keeps nobody out', { skip }, async t => {
  const target = await createTarget(t, { clients: ['client', 'friend'] });
  await target.reload();
  const { open, drop, reject, knock, neighbour } = PORTS.tcp;
  const answers = async (words: string, port: number) =>
    !/ 0 packets received/.test(await hping(target, `${words} -p ${port} -c 3 -i u1000`));
  /** hping3 ends a second after its last packet, and on a busy machine before it has read the answers. */
  const again = async (ask: () => Promise<boolean>) => {
    for (let tries = 5; tries > 0; tries--) if (await ask()) return true;
    return false;
  };
  const asBeside = async (words: string, port: number) => {
    const ask = async () => (await answers(words, port)) === (await answers(words, neighbour));
    t.ok(await again(ask), `${words}, at ${port} as beside`);
  };
  for (const words of ['-S', '-S -f -d 64', '-S -d 100', '-S -L 1 -w 0', '-S -M 1 -s 80 -k']) {
    t.ok(await again(() => answers(words, open)), `${words}: the control`);
    t.notOk(await answers(words, drop), words);
    await asBeside(words, knock);
  }
  await Promise.all(
    ['-F', '-A', '-R', '-FPU', '-SA', '-SF', '-SR', '-X', '-Y', '-b -S'].map(async words => {
      for (const port of [knock, reject]) await asBeside(words, port);
    }),
  );
  const floods = [
    `-S -p ${drop} --rand-source --flood`,
    `-S -p ${knock} --rand-source --flood`,
    `-2 -p ${PORTS.udp.token} --rand-source -d 64 --flood`,
    `-S -p ++1 -s ${open} --flood`,
  ];
  for (const words of floods) {
    const flood = target.start('client', 'hping3', ['-q', ...words.split(' '), target.server.ipv4]);
    const friend = target.host('friend');
    await friend.knock(target.server.ipv6, SEQUENCES.ssh);
    t.equal(await friend.connect(target.server.ipv6, drop, { timeout: 5000 }), 'open', `beside ${words}`);
    await flood.stop('SIGINT');
    const { ipv6 } = target.addresses('friend');
    t.same(await target.inside(), [`ssh ${ipv6}`]);
    t.equal((await target.knockd(['revoke', '--all'], { env: target.env })).status, 0);
  }
});

t.test('a token opens once and for one sender, however many send it, and to any port', needs, async t => {
  const target = await createTarget(t, { clients: ['client', 'friend'] });
  await target.reload({ token: { hours: 1, payload: ['80/tcp'] } });
  const client = target.host('client');
  const good = (ahead: number) => token('alice', ahead, { service: 'vpn' });
  const to = target.server.ipv4;
  const sent = (text: string, from: string, port: number = PORTS.udp.token) =>
    ({ protocol: 'udp', to, from, port, payload: tokenDatagram(text) }) as const;
  // before its time, and of others
  const wrong = [
    token('alice', 0, { service: 'ssh' }),
    token('alice', 0, { service: 'vpn', realm: 'other' }),
    good(70),
    good(-3),
  ];
  await client.send(wrong.map((text, index) => sent(text, `198.18.1.${index}`)));
  // right, and at the wrong place
  await client.send([
    sent(good(GOOD), '198.18.2.1', PORTS.udp.neighbour),
    sent(good(GOOD), '198.18.2.2', PORTS.udp.knock),
  ]);
  for (const family of families)
    await client.send([
      { protocol: 'tcp', to: target.server[family], port: 80, payload: tokenRequest(good(GOOD), 'server') },
      {
        protocol: 'tcp',
        to: target.server[family],
        port: 80,
        flags: ['psh', 'ack'],
        acknowledgment: 1,
        payload: tokenRequest(good(GOOD), 'server'),
      },
    ]);
  t.ok((await target.served()) > 0, 'data in a SYN was a connection');
  t.same(await target.inside(), []);
  // many, one after the other, and over again
  const many = Array.from({ length: 100 }, (_, index) => sent(good(GOOD), `198.18.3.${index}`));
  await client.send([...many, ...many]);
  t.same(await target.inside(), ['vpn 198.18.3.0'], 'the first of them');
  // two hosts at once
  const race = (host: string, net: number) =>
    target
      .host(host)
      .send(Array.from({ length: 100 }, (_, index) => sent(good(GOOD + 1), `198.18.${net}.${index}`)));
  await target.host('friend').knock(to, []);
  await Promise.all([race('client', 4), race('friend', 5)]);
  t.equal((await target.inside()).length, 2, 'one of them');
  t.equal((await target.state()).services.ssh?.opened, 0);
});
