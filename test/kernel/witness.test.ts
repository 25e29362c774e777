/**
 * nft as the witness: what `load` writes over netlink is the program that nft makes of `render`, and what nft lists
 * of it loads again.
 */
import t from 'tap';
import { createWorld, missing } from './world.ts';

const ssh = { ports: [22], sequence: [10000, 2345, 3456, 1234] };
const twoServices = {
  ssh,
  admin: {
    ports: [8443],
    sequences: { alice: ['7001/udp', 7003, '7002/udp'], bob: ['7001/udp', 7004] },
    knockTimeout: '2s',
    openFor: '30s',
    singleUse: true,
    closed: 'reject',
  },
};

/** Users whose sequences differ in the second knock: the first step would have a comment of some 600 bytes. */
const thirtyUsers = Object.fromEntries(
  Array.from({ length: 30 }, (_, index) => [`user-number-${index}`, [5000, 6000 + 2 * index, 7000]]),
);

const configurations: Readonly<Record<string, object>> = {
  'the smallest file': { services: { ssh } },
  'no services': { services: {} },
  'the two services of the worked example': { services: twoServices },
  'knocks over UDP alone': {
    services: { vpn: { ports: ['1194/udp'], sequence: ['1000/udp', '2000/udp', '53/udp'] } },
  },
  'guards in prerouting': {
    hook: 'prerouting',
    services: { ...twoServices, web: { ports: ['8080-8084/tcp', '8080/udp'], sequence: [4001, 4003, 4005] } },
    public: [80],
  },
  'policy drop with everything': {
    policy: 'drop',
    services: twoServices,
    public: [80, 443, '443/udp', '6000-6010/tcp'],
    allow: ['192.0.2.0/24', '2001:db8::/32'],
    interfaces: ['eth0', 'wg*'],
    prefix: { ipv4: 24, ipv6: 64 },
    closed: 'reject',
    log: { refused: true, group: 7 },
    limits: { progress: 1000, clients: 100 },
    priority: -150,
    table: 'guard_house',
  },
  'policy drop in prerouting': { policy: 'drop', hook: 'prerouting', services: { ssh } },
  'interfaces with wildcards': { services: { ssh }, interfaces: ['eth0', 'wg*', 'br-0123456789ab', 'a*'] },
  'a prefix of /24 and /64': { services: twoServices, prefix: { ipv4: 24, ipv6: 64 } },
  'a prefix of odd lengths': { services: { ssh }, prefix: { ipv4: 1, ipv6: 33 } },
  'all addresses allowed': { services: { ssh }, allow: ['0.0.0.0/0', '::/0'] },
  'the first and the last addresses allowed': {
    services: { ssh },
    allow: ['0.0.0.0', '255.0.0.0/8', '::', 'ff00::/8'],
  },
  'neighbours and single addresses allowed': {
    services: { ssh },
    allow: [
      '10.0.0.0/25',
      '10.0.0.128/25',
      '10.0.1.0/24',
      '10.0.3.0/24',
      '10.0.4.1',
      '10.0.4.2',
      '255.255.255.255',
      'fd00::/64',
      'fd00:0:0:1::/64',
      'fd00:0:0:3::7',
      'ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff',
    ],
  },
  'single use': { services: { ssh: { ...ssh, singleUse: true } } },
  'closed by reject': { services: { ssh }, closed: 'reject' },
  'closed as prohibited': { services: { ssh }, closed: 'prohibited' },
  'refusals in the log': { services: twoServices, log: { refused: true, group: 65535 } },
  'not strict': { services: { ssh }, strict: false },
  'ranges of ports': {
    services: { ftp: { ports: ['20-21/tcp', '40000-40100/tcp'], sequence: [1, 65535, '2/udp'] } },
    public: ['60000-60100/udp'],
  },
  'the smallest and the largest limits': {
    services: twoServices,
    limits: { progress: 1, clients: 16777216 },
  },
  'times of all units': {
    services: {
      ssh: { ...ssh, knockTimeout: '1500ms', openFor: '365d' },
      web: { ports: [80], sequence: [4001, 4003, 4005], knockTimeout: '1d2h3m4s', openFor: '1m30s' },
    },
  },
  'another table': { services: { ssh }, table: 'a_table_with_thirty_two_letters_' },
  'services with - and _ and long names': {
    services: {
      'a-b_c-': ssh,
      a_b: { ports: [23], sequence: [4001, 4003, 4005] },
      a: { ports: [24], sequences: { 'x-y': [4011, 4013, 4015], x_y: [4021, 4023, 4025] } },
      'service-with-a-name-of-32-chars_': { ports: [25], sequence: [4031, 4033, 4035] },
    },
  },
  'thirty users with the same first knock': {
    services: { ssh: { ports: [22], sequences: thirtyUsers } },
  },
  'services that share knocks': {
    services: {
      one: { ports: [81], sequence: [5000, 6000, 7000], knockTimeout: 3 },
      two: { ports: [82], sequence: [5000, 6000, 8000], knockTimeout: 20 },
      three: { ports: [83], sequence: [7000, 6000, 5000], knockTimeout: 1 },
    },
  },
  'a sequence of 32 knocks': {
    services: { ssh: { ports: [22], sequence: Array.from({ length: 32 }, (_, index) => 4000 + 7 * index) } },
  },
};

/**
 * nft's print of the bytecode, without the listing after it; hash order is random, handles count up, and a script declares
 * state before the program.
 */
function program(debug: string): string {
  const [bytecode = ''] = debug.split(/^table /m);
  const lines = bytecode.split('\n').map(line => line.replace(/^(inet \S+ [^@]\S*) .*/, '$1'));
  const sorted = sortRuns(lines, line => line.startsWith('\telement ')).join('\n');
  const blocks = sorted.split(/^(?=inet )/m);
  const isSet = (block: string) => /^inet \S+ @/.test(block);
  return [...blocks.filter(isSet).toSorted(), ...blocks.filter(block => !isSet(block))].join('');
}

function sortRuns(lines: readonly string[], belongs: (line: string) => boolean): string[] {
  const sorted: string[] = [];
  let run: string[] = [];
  for (const line of [...lines, '']) {
    if (belongs(line)) run.push(line);
    else {
      sorted.push(...run.toSorted(), line);
      run = [];
    }
  }
  return sorted;
}

/** `nft --json list ruleset` without handles, and its elements in order: all that nft knows of sets, sizes, comments. */
function objects(json: string): unknown {
  const { nftables } = JSON.parse(json, (key, value) => (key === 'handle' ? undefined : value)) as {
    nftables: Record<string, { elem?: unknown[] }>[];
  };
  for (const object of nftables)
    for (const { elem } of Object.values(object))
      elem?.sort((a, b) => (JSON.stringify(a) < JSON.stringify(b) ? -1 : 1));
  const order = (object: Record<string, unknown>) => JSON.stringify(object.set ?? object.map ?? '');
  return nftables.toSorted((a, b) => (order(a) < order(b) ? -1 : Number(order(a) > order(b))));
}

t.test(
  'load and "render | nft -f -" make the same program',
  { skip: missing('namespaces', 'nft', 'knockd') },
  async t => {
    const world = await createWorld(t, { clients: ['rendered', 'listed'] });
    const nft = async (host: string, args: readonly string[], input = '') => {
      const { status, stdout, stderr } = await world.run(host, 'nft', args, { input });
      if (status !== 0) throw new Error(`nft ${args.join(' ')}: ${stderr}`);
      return stdout;
    };
    const witness = async (host: string) => ({
      program: program(await nft(host, ['--debug=netlink', 'list', 'ruleset'])),
      objects: objects(await nft(host, ['--json', 'list', 'ruleset'])),
    });

    for (const [name, config] of Object.entries(configurations))
      await t.test(name, async t => {
        for (const host of ['server', 'rendered', 'listed']) await nft(host, ['flush', 'ruleset']);
        world.write(config);
        const inSync = async (host: string, what: string) => {
          const { status, stdout } = await world.knockd(['diff'], { host });
          t.equal(`${status}: ${stdout}`, '0: ', what);
        };

        const load = await world.knockd(['load']);
        t.equal(load.status, 0, 'load');
        t.match(load.stdout, /^loaded: /);
        await inSync('server', 'diff says nothing after load');

        const render = await world.knockd(['render']);
        t.equal(render.status, 0, 'render');
        await nft('rendered', ['-c', '-f', '-'], render.stdout);
        await nft('rendered', ['-f', '-'], render.stdout);
        await inSync('rendered', 'diff says nothing after render | nft -f -');
        t.same(await witness('server'), await witness('rendered'), 'the same program');

        const listing = await world.list();
        await nft('server', ['-c', '-f', '-'], listing);
        await nft('listed', ['-c', '-f', '-'], listing);
        t.pass('the listing passes nft -c -f -, beside the table and without it');
        await nft('listed', ['-f', '-'], listing);
        await inSync('listed', 'diff says nothing after nft list ruleset | nft -f -');
        t.same(await witness('listed'), await witness('server'), 'the listing makes the same program');

        for (const host of ['rendered', 'listed']) {
          const { stdout } = await world.knockd(['load', '--json'], { host });
          t.equal(JSON.parse(stdout).objects, 0, `nothing to load on ${host}`);
        }
      });
  },
);
