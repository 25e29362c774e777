/** The token port as a stranger sees it: it shows nothing, and a flood of wrong tokens does nothing to it. */
import { randomBytes } from 'node:crypto';
import t from 'tap';
import { deriveToken, windowAt } from '../../src/token/derive.ts';
import { tokenDatagram } from '../../src/token/packet.ts';
import { answers, families } from './loaded.ts';
import { lacking } from './process.ts';
import { raceTokens } from './token-racing.ts';
import { GOOD, SECRETS, token, tokens, tokenWorld } from './token-world.ts';
import { missing, type World } from './world.ts';

const needs = { skip: missing('namespaces', 'nft', 'knockd') };
const needsConntrack = { skip: needs.skip || lacking('conntrack') };

const TOKEN_PORT = 62201;
/** Nobody listens there, and the configuration does not name them. */
const NEIGHBOURS = [62200, 62202] as const;
/** So few that what stands ready is quickly listed. */
const short = { ...tokens, token: { hours: 1 } };

/** As nft writes a token. */
const asListed = (text: string) => `0x${Buffer.from(text).toString('hex')}`;

/** The elements of each set and map of ours that has any, in order, as nft lists them. */
async function elements(world: World): Promise<Map<string, readonly string[]>> {
  const listing = (await world.run('server', 'nft', ['list', 'table', 'inet', 'knockd'])).stdout;
  const found = listing.matchAll(/^\t(?:set|map) (\S+) \{[^}]*?elements = \{([^}]*)\}/gm);
  return new Map(
    [...found].map(([, name = '', all = '']) => [
      name,
      all
        .split(',')
        .map(one => one.trim().replaceAll(/\s+/g, ' '))
        .sort(),
    ]),
  );
}

/** Of each element, `set: element` without what time does to it, and the time that is left to it. */
async function keys(world: World): Promise<Map<string, number>> {
  const all = [...(await elements(world))].flatMap(([name, list]) => list.map(one => [name, one] as const));
  return new Map(
    all.map(([name, one]) => [
      `${name}: ${one.replaceAll(/ (timeout|expires|limit rate) [^:]*/g, '')}`,
      left(one),
    ]),
  );
}

/** Elements that came, and those that went before their time. */
function changes(before: ReadonlyMap<string, number>, after: ReadonlyMap<string, number>) {
  return {
    added: [...after.keys()].filter(one => !before.has(one)),
    gone: [...before].filter(([one, time]) => time > MINUTE && !after.has(one)).map(([one]) => one),
  };
}

/** The rest of an element's time, as nft lists it, in milliseconds; infinite if it has no end. */
function left(element: string): number {
  const [, text] = /expires (\S+)/.exec(element) ?? [];
  if (text === undefined) return Number.POSITIVE_INFINITY;
  return [...text.matchAll(/(\d+)([a-z]+)/g)].reduce(
    (sum, [, n, unit = '']) => sum + Number(n) * (UNITS[unit] ?? 0),
    0,
  );
}

const MINUTE = 60_000;
const UNITS: Readonly<Record<string, number>> = {
  d: 1440 * MINUTE,
  h: 60 * MINUTE,
  m: MINUTE,
  s: 1000,
  ms: 1,
};

async function packetsOf(world: World, counter: string): Promise<number> {
  const { stdout } = await world.run('server', 'nft', ['list', 'counter', 'inet', 'knockd', counter]);
  return Number(/packets (\d+)/.exec(stdout)?.[1]);
}

for (const policy of ['accept', 'drop'] as const)
  t.test(
    `a flood of wrong tokens leaves nothing behind, and right ones come in meanwhile; policy ${policy}`,
    needsConntrack,
    async t => {
      const world = await tokenWorld(t, { clients: ['client', 'attacker'] });
      await world.load({ ...short, policy });
      const payloads = Array.from({ length: 16 }, () => tokenDatagram(randomBytes(16).toString('hex')));
      await world.host('client').knock(world.server.ipv4, []); // so that it is there when the flood comes
      const count = 60_000;
      const [neighbour] = NEIGHBOURS;
      const flood = (to: string, port: number) =>
        world.host('attacker').flood({
          to,
          knocks: payloads.map(() => `${port}/udp`),
          payloads,
          sources: { first: to.includes(':') ? '2001:db8::1' : '198.18.0.1', count: 4000 },
          count,
        });
      for (const family of families) {
        const to = world.server[family];
        const tracked = async (port: number): Promise<number> => {
          await world.run('server', 'conntrack', ['-F']);
          await flood(to, port);
          const args = ['-L', '-f', family, '-p', 'udp', '--dport', String(port)];
          return (await world.run('server', 'conntrack', args)).stdout.trim().split('\n').filter(Boolean)
            .length;
        };
        const before = await keys(world);
        const wrong = await packetsOf(world, 'wrong_tokens');
        const elsewhere = await tracked(neighbour);
        const began = performance.now();
        const here = await tracked(TOKEN_PORT);
        t.comment(`${Math.round(count / (performance.now() - began))} thousand packets a second`);
        t.ok(here <= elsewhere, `${here} entries of connection tracking, and ${elsewhere} elsewhere`);
        t.equal((await packetsOf(world, 'wrong_tokens')) - wrong, count, 'each was looked at');
        t.same(changes(before, await keys(world)), { added: [], gone: [] });

        let flooding = true;
        const storm = flood(to, TOKEN_PORT).finally(() => {
          flooding = false;
        });
        const sent: string[] = [];
        const earlier = await packetsOf(world, 'ssh_opened');
        const user = family === 'ipv4' ? 'alice' : 'bob';
        for (let ahead = GOOD; flooding && ahead < GOOD + 50; ahead++) {
          const good = token(user, ahead);
          await world.sendToken('client', good, family);
          sent.push(good);
          await packetsOf(world, 'wrong_tokens'); // so that they are sent at all times of the flood
        }
        await storm;
        const opened = (await packetsOf(world, 'ssh_opened')) - earlier;
        // on a full wire a packet may be lost
        t.ok(opened > 0 && opened >= sent.length - 1, `${opened} of ${sent.length} right tokens opened`);
        const { added, gone } = changes(before, await keys(world));
        const isOurs = (one: string) =>
          [world.client[family], ...sent.map(asListed)].some(text => one.includes(text));
        t.same(
          added.filter(one => !isOurs(one)),
          [],
          'what is new is of the client and its tokens',
        );
        t.equal(gone.length, opened);
        t.same(
          gone.filter(one => !isOurs(one)),
          [],
          'only its tokens went',
        );
      }
    },
  );

/** Packets to the token port, each with a name; the right tokens differ each time. */
function datagrams(ahead: number): readonly (readonly [name: string, payload: string])[] {
  const right = token('alice', ahead);
  return [
    ['right', tokenDatagram(right)],
    ['repeated', tokenDatagram(right)],
    ['right and long', tokenDatagram(token('bob', ahead)).padEnd(1400, 'x')],
    ['wrong', tokenDatagram('0'.repeat(32))],
    ['wrong and long', tokenDatagram('f'.repeat(32)).padEnd(1400, 'x')],
    ['one digit too short', tokenDatagram(token('alice', ahead + 1).slice(0, 31))],
    ['no token', tokenDatagram('')],
    ['one byte', 'x'],
    ['nothing', ''],
  ];
}

const other = (verdict: string) => `table inet other {
  chain input { type filter hook input priority filter; udp dport 62000-63000 ${verdict}; }
}`;
/** Sees packets after our table, and those that it dropped not at all. */
const surroundings: readonly (readonly [name: string, script: string])[] = [
  ['no other table', ''],
  ['another table that rejects the ports', other('reject with icmpx admin-prohibited')],
  ['another table that drops them', other('drop')],
  ['another table that rejects them as the kernel does', other('reject')],
];

/** Each with how many kinds of answers there are in all, from the kernel and from tables of others. */
const configurations: readonly (readonly [file: object, kinds: number, around?: typeof surroundings])[] = [
  [{}, 5],
  [{ policy: 'drop' }, 1],
  [{ closed: 'reject' }, 4, surroundings.slice(0, 2)],
  [{ policy: 'drop', closed: 'reject' }, 1, surroundings.slice(0, 2)],
  [{ hook: 'prerouting' }, 4, surroundings.slice(0, 2)],
  [{ hook: 'prerouting', policy: 'drop', interfaces: ['eth*'] }, 1, surroundings.slice(0, 2)],
  [{ interfaces: ['eth1'] }, 4, surroundings.slice(0, 2)],
];

for (const [file, kinds, around = surroundings] of configurations)
  t.test(`the token port answers as its neighbours do: ${JSON.stringify(file)}`, needs, async t => {
    const world = await tokenWorld(t);
    await world.load({ ...short, ...file });
    const isSeen = !JSON.stringify(file).includes('eth1');
    const answered = new Set<string>();
    for (const [index, [name, script]] of around.entries()) {
      await world.nft(`add table inet other\ndelete table inet other\n${script}`);
      for (const [offset, family] of families.entries()) {
        const sent = datagrams(GOOD + 3 * (2 * index + offset));
        const opened = await packetsOf(world, 'ssh_opened');
        const repeated = await packetsOf(world, 'repeated_tokens');
        const ports = [TOKEN_PORT, ...NEIGHBOURS];
        const all = await answers(
          world,
          ports.flatMap(port =>
            sent.map(([, payload]) => ({
              protocol: 'udp' as const,
              to: world.server[family],
              port,
              payload,
            })),
          ),
        );
        const [here = [], ...elsewhere] = ports.map((_, port) =>
          sent.map(([what], turn) => `${what}: ${all[port * sent.length + turn]}`),
        );
        for (const there of elsewhere) t.same(here, there, `${family}, ${name}`);
        t.equal((await packetsOf(world, 'ssh_opened')) - opened, isSeen ? 2 : 0, 'the right ones opened');
        t.equal((await packetsOf(world, 'repeated_tokens')) - repeated, isSeen ? 1 : 0);
        for (const answer of all) answered.add(answer.replace(/ size .*/, ''));
      }
    }
    t.equal(answered.size, kinds, `${[...answered].join(' | ')}`);
  });

t.test("the kernel's limit of answers is that of any port", needs, async t => {
  const world = await tokenWorld(t, { clients: ['client', 'stranger'] });
  await world.load(short);
  const script =
    'for limit in ipv4/icmp_ratelimit ipv6/icmp/ratelimit; do echo 10000 >/proc/sys/net/$limit || exit; done';
  if ((await world.run('server', 'sh', ['-c', script])).status !== 0)
    return t.plan(0, 'the limit cannot be set here (a container?)');
  for (const [index, family] of families.entries()) {
    const payloads = Array.from({ length: 6 }, (_, turn) => datagrams(GOOD + 12 * index + 2 * turn)).flat();
    const heard = async (host: string, port: number) => {
      const captured = await world.host(host).capture();
      const to = world.server[family];
      await world.host(host).send(payloads.map(([, payload]) => ({ protocol: 'udp', to, port, payload })));
      return (await captured.end(500)).filter(({ about }) => about?.port === port).length;
    };
    const [here, there] = [await heard('client', TOKEN_PORT), await heard('stranger', NEIGHBOURS[0])];
    t.ok(there > 0 && there < payloads.length, `${there} answers to ${payloads.length} datagrams`);
    t.equal(here, there, family);
  }
});

/** A user's tokens as the kernel may have them. */
function listed(secret: string): Set<string> {
  const key = { secret: Buffer.from(secret, 'hex'), realm: 'default', service: 'ssh' };
  const now = windowAt(Date.now());
  return new Set(Array.from({ length: 90 }, (_, index) => asListed(deriveToken(key, now - 5 + index))));
}

for (const what of ['removed', 'rotated'] as const)
  t.test(
    `nothing is left of a user who was ${what}, and the tokens of others are not touched`,
    needs,
    async t => {
      const world = await tokenWorld(t, { clients: ['client', 'other'] });
      await world.load(short);
      await world.sendToken('client', token('alice', GOOD));
      await world.sendToken('other', token('bob', GOOD));
      const mapOf = async (name: string) => (await elements(world)).get(name) ?? [];
      const of = (secret: string, list: readonly string[]) => {
        const all = listed(secret);
        return list.filter(element => all.has(element.split(' ')[0] ?? ''));
      };
      const before = await mapOf('tokens');
      const [alices, bobs] = [of(SECRETS.alice, before), of(SECRETS.bob, before)];
      const place = alices[0]?.split(' : ')[1] ?? '';
      t.ok(alices.length > 50 && bobs.length > 50, `${alices.length} of alice, ${bobs.length} of bob`);
      t.ok(
        (await mapOf('arrivals')).some(element => element.startsWith(place)),
        `${place} leads somewhere`,
      );
      t.equal((await mapOf('ssh_clients_ipv4')).length, 2);

      const fresh = 'c2'.repeat(32);
      const users = { ...(what === 'rotated' && { alice: fresh }), bob: SECRETS.bob };
      await world.load({ ...short, services: { ssh: { ...short.services.ssh, tokens: users } } });
      const after = await mapOf('tokens');
      t.same(of(SECRETS.alice, after), [], 'tokens');
      t.same(
        (await mapOf('arrivals')).filter(element => element.startsWith(place)),
        [],
        'the place',
      );
      for (const set of ['ssh_clients_ipv4', 'ssh_users_ipv4']) {
        const list = await mapOf(set);
        t.equal(list.length, 1);
        t.match(list[0], `${world.addresses('other').ipv4} `, set);
      }
      t.equal(of(fresh, after).length > 50, what === 'rotated', 'tokens of the new secret');
      const untouched = (element: string) => {
        const [key = ''] = element.split(' ');
        const now = after.find(one => one.startsWith(key));
        const timeout = (text: string) => /timeout (\S+)/.exec(text)?.[1];
        return now !== undefined && timeout(now) === timeout(element) && left(now) < left(element);
      };
      // the others may have come to their end
      const others = bobs.filter(element => left(element) > MINUTE);
      t.same(
        others.filter(element => !untouched(element)),
        [],
        `${others.length} tokens were given once`,
      );
    },
  );

/** Looks whether a token was used, and then writes it down: between the two there is time for another copy. */
const NAIVE = `flush chain inet knockd token
add rule inet knockd token @th,256,256 != @used meta mark set @th,256,256 map @tokens add @used { @th,256,256 timeout 26h } meta mark vmap @arrivals
`;

t.test('the race of two copies is one: without the limit of each element both open', needs, async t => {
  const { races, opened } = await raceTokens(t, 4000, world => world.nft(NAIVE));
  t.comment(`${opened} openings of ${races} races`);
  t.ok(opened > races, `${opened} openings of ${races} races`);
});
