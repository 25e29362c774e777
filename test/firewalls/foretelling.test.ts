/** The foretold fate of a packet in tables of others, compared with the fate of real packets in the kernel. */
import fc from 'fast-check';
import t from 'tap';
import type { Reach } from '../kernel/host.ts';
import { families } from '../kernel/loaded.ts';
import { createWorld, missing, type World } from '../kernel/world.ts';
import type { Foretold } from './foretell.ts';

const skip = missing('namespaces', 'nft');
const PROGRAM = new URL('./foretell.js', import.meta.url).pathname;

async function foretold(world: World, family: string, ports: readonly number[]): Promise<Foretold[]> {
  const { stdout: index } = await world.run('server', 'cat', ['/sys/class/net/eth0/ifindex']);
  const args = [PROGRAM, family, 'tcp', 'eth0', index.trim(), ...ports.map(String)];
  const { status, stdout, stderr } = await world.run('server', process.execPath, args);
  if (status !== 0) throw new Error(`foretelling ended with ${status}: ${stderr}`);
  return JSON.parse(stdout) as Foretold[];
}

/** How a connection to a port with a listener will look to the client. */
function look({ likely }: Foretold): Reach | 'unknown' {
  const fate = likely.find(it => it !== 'accept' && it !== 'translate');
  return fate === undefined ? 'open' : fate === 'drop' ? 'silent' : fate === 'reject' ? 'refused' : 'unknown';
}

async function connect(
  world: World,
  family: (typeof families)[number],
  ports: readonly number[],
): Promise<Reach[]> {
  const client = world.host('client');
  const reached = await Promise.all(ports.map(port => client.connect(world.server[family], port)));
  // an ICMP error is a refusal, too
  return reached.map(it => (it === 'unreachable' ? 'refused' : it));
}

async function agree(
  world: World,
  ports: readonly number[],
  which: readonly (typeof families)[number][] = families,
) {
  for (const family of which) {
    const expected = (await foretold(world, family, ports)).map(look);
    const seen = await connect(world, family, ports);
    // what rules write, others cannot be told by
    const written = /mark set|update @/.test(await world.list());
    const at = seen.findIndex(
      (reach, index) => reach !== expected[index] && !(written && expected[index] === 'unknown'),
    );
    if (at >= 0)
      throw new Error(
        `${family} ${ports[at]}: foretold ${expected[at]}, but ${seen[at]}\n${await world.list()}`,
      );
  }
}

const PORTS = [22, 23, 80, 81, 443, 2222, 8080, 8443, 30_000, 60_000];

async function listening(world: World, ports: readonly number[]) {
  for (const port of ports) await world.host('server').listen(port);
}

/** Words of nft that a packet of the test may or may not match, each without a doubt. */
const port = fc.constantFrom(...PORTS);
const ports = fc.uniqueArray(port, { minLength: 1, maxLength: 4 });
const condition = fc.oneof(
  port.map(it => `tcp dport ${it}`),
  port.map(it => `tcp dport != ${it}`),
  port.map(it => `tcp dport <= ${it}`),
  port.map(it => `tcp dport > ${it}`),
  port.map(it => `th dport ${it}`),
  port.map(it => `meta nfproto ipv4 @nh,176,16 ${it}`),
  port.map(it => `meta nfproto ipv6 @nh,336,16 != ${it}`),
  port.map(it => `meta nfproto ipv4 @nh,184,8 ${it & 0xff}`),
  fc.tuple(port, port).map(([a, b]) => `tcp dport ${Math.min(a, b)}-${Math.max(a, b) + 1}`),
  fc.tuple(port, port).map(([a, b]) => `tcp dport != ${Math.min(a, b)}-${Math.max(a, b) + 1}`),
  ports.map(list => `tcp dport { ${list.join(', ')} }`),
  ports.map(list => `tcp dport != { ${list.join(', ')} }`),
  ports.map(list => `iifname . tcp dport { ${list.map(it => `"eth0" . ${it}, "eth1" . 1`).join(', ')} }`),
  ports.map(list => `meta l4proto . tcp dport { ${list.map(it => `tcp . ${it}-${it + 1}`).join(', ')} }`),
  fc.constantFrom(
    ...[
      'tcp dport @some',
      'tcp dport != @some',
      'udp dport 22',
      'meta l4proto tcp',
      'meta l4proto { tcp, udp }',
    ],
    ...['ct state new', 'ct state established,related', 'ct state != new', 'ct state { new, related }'],
    ...['iifname "eth0"', 'iifname "eth1"', 'iifname != "eth0"', 'iifname "eth*"', 'iif "eth0"', 'iif "lo"'],
    ...[
      'tcp flags syn',
      'tcp flags & (fin | syn | rst | ack) == syn',
      'tcp flags & ack == ack',
      'ct direction original',
    ],
    ...[
      'fib daddr type local',
      'fib daddr type != local',
      'meta pkttype host',
      'meta pkttype { broadcast, multicast }',
    ],
    ...[
      'meta protocol ip',
      'meta nfproto ipv6',
      'ip protocol tcp',
      'ip saddr 192.168.0.0/16',
      'ip6 saddr 2001:db8::/32',
    ],
    ...[
      'limit rate 10000/second burst 500 packets',
      'limit rate over 10000/second burst 500 packets',
      'ct count over 1000',
      'counter',
      'meta mark 0',
    ],
    ...[
      'tcp sport 1024-65535',
      'th sport < 1024',
      'meta mark set 7',
      'fib saddr . iif oif missing',
      'ct mark 3',
    ],
    ...[
      'ip saddr @strangers',
      'ip saddr != @strangers',
      'update @strangers { ip saddr }',
      'oifname ""',
      'ct status dnat',
    ],
  ),
);
const verdictOf = (...chains: string[]) =>
  fc.constantFrom(
    'accept',
    'drop',
    'reject with tcp reset',
    'return',
    '',
    ...chains.flatMap(it => [`jump ${it}`, `goto ${it}`]),
  );
const mapOf = (verdict: fc.Arbitrary<string>) =>
  fc
    .tuple(
      ports,
      fc.array(
        verdict.map(it => (it === '' || it.startsWith('reject') ? 'continue' : it)),
        { minLength: 4, maxLength: 4 },
      ),
      verdict,
    )
    .map(
      ([list, verdicts, end]) =>
        `tcp dport vmap { ${list.map((it, index) => `${it} : ${verdicts[index]}`).join(', ')} } ${end}`,
    );
const ruleOf = (verdict: fc.Arbitrary<string>) =>
  fc.oneof(
    {
      weight: 6,
      arbitrary: fc
        .tuple(fc.array(condition, { minLength: 1, maxLength: 2 }), verdict)
        .map(([words, end]) => `${words.join(' ')} ${end}`),
    },
    { weight: 1, arbitrary: mapOf(verdict) },
    { weight: 1, arbitrary: fc.constant('ct state vmap { established : accept, invalid : drop }') },
  );
const rulesOf = (...chains: string[]) =>
  fc
    .array(ruleOf(verdictOf(...chains)), { maxLength: 5 })
    .map(rules => rules.map(it => `\t\t${it}\n`).join(''));
const policy = fc.constantFrom('accept', 'drop');

const ruleset = fc
  .record({
    second: rulesOf(),
    first: rulesOf('second'),
    input: rulesOf('first', 'second'),
    early: rulesOf().map(rules => rules.replaceAll('reject with tcp reset', 'drop')),
    priority: fc.constantFrom(-300, -150, 50),
    policy,
  })
  .map(
    ({ second, first, input, early, priority, policy }) => `flush ruleset
table inet other {
\tset some { type inet_service; flags interval; elements = { 80, 400-500, 8443 }; }
\tset strangers { type ipv4_addr; size 100; flags dynamic; }
\tchain second {\n${second}\t}
\tchain first {\n${first}\t}
\tchain early {
\t\ttype filter hook prerouting priority ${priority}; policy accept;
\t\tmeta l4proto != tcp accept
${early}\t}
\tchain input {
\t\ttype filter hook input priority 10; policy ${policy};
\t\tmeta l4proto != tcp accept
\t\tct state established accept
${input}\t}
}`,
  );

t.test('with any rules, the client meets the fate that was foretold', { skip, timeout: 120_000 }, async t => {
  const world = await createWorld(t);
  await listening(world, PORTS);
  let loaded = 0;
  await fc.assert(
    fc.asyncProperty(ruleset, async script => {
      // nft refuses some: words of both families in one rule, a condition that contradicts an earlier one
      if (
        await world.nft(script).then(
          () => false,
          () => true,
        )
      )
        return;
      loaded++;
      await agree(world, PORTS);
    }),
    { numRuns: 12, endOnFailure: true },
  );
  t.ok(loaded > 5, `${loaded} rulesets were loaded`);
});

/** A port for each thing that rules may do, and what its client sees. */
const CASES: readonly (readonly [port: number, look: Reach, input: string, chains?: string])[] = [
  [1002, 'open', 'tcp dport 1002 goto empty', 'chain empty { }'],
  [1003, 'refused', 'tcp dport 1003 jump empty\n\t\ttcp dport 1003 reject with tcp reset'],
  [
    1004,
    'open',
    'tcp dport 1004 jump leaves\n\t\ttcp dport 1004 accept',
    'chain leaves {\n\t\treturn\n\t\tdrop\n\t}',
  ],
  [1005, 'silent', 'tcp dport vmap { 1005 : jump refuses }', 'chain refuses {\n\t\tdrop\n\t}'],
  [1006, 'open', 'tcp dport vmap { 1000 : drop, 1007 : drop, 1006 : accept }'],
  [1008, 'silent', 'tcp dport 1008-1009 drop'],
  [1009, 'silent', ''],
  [1010, 'open', 'tcp dport 1010 accept'],
  [1011, 'silent', 'tcp dport @edges drop'],
  [1012, 'open', 'tcp dport 1012 accept'],
  [1013, 'silent', 'tcp dport 1013 ct state invalid accept\n\t\ttcp dport 1013 drop'],
  [1014, 'silent', ''],
  [
    1015,
    'refused',
    'meta l4proto . th dport vmap { tcp . 1015-1016 : goto resets }',
    'chain resets {\n\t\tmeta l4proto tcp reject with tcp reset\n\t}',
  ],
  [1016, 'refused', ''],
  [
    1017,
    'open',
    'tcp dport 1017 meter m { tcp dport limit rate over 9000/second burst 900 packets } drop\n\t\ttcp dport 1017 accept',
  ],
  [1018, 'silent', 'tcp dport 1018 meter n { tcp dport limit rate 9000/second burst 900 packets } drop'],
  [1019, 'open', 'tcp dport & 0xfffe == 1018 tcp dport != 1018 accept'],
  [1021, 'silent', 'tcp dport 1021 ct original proto-dst 1021 drop'],
  [1022, 'silent', ''],
  [
    1023,
    'open',
    'tcp dport 1023 iif != "lo" iiftype != loopback ip version 4 accept\n\t\ttcp dport 1023 meta nfproto ipv6 accept',
  ],
  [1024, 'silent', 'tcp dport vmap { 1024 : continue } drop'],
  [1025, 'open', 'tcp dport vmap { 1025 : accept, 1026 : continue } drop'],
  [1026, 'silent', ''],
  [1027, 'open', 'tcp dport 1027 tcp sport vmap { 1-1023 : drop, 1024-65535 : continue } accept'],
  [
    1028,
    'silent',
    'tcp dport 1028 tcp sport vmap { 1-1023 : accept, 1024-65535 : continue } ct state invalid accept\n\t\ttcp dport 1028 drop',
  ],
  [1029, 'silent', 'tcp dport vmap { 1029 : continue } tcp dport vmap { 1029 : continue } drop'],
  [1032, 'silent', 'meta nfproto ipv4 @nh,176,16 1032 drop\n\t\tmeta nfproto ipv6 @nh,336,16 1032 drop'],
  [1033, 'open', 'meta nfproto ipv6 @nh,336,16 1033 accept\n\t\t@nh,184,8 9 meta nfproto ipv4 accept'],
];

t.test('each kind of rule, one by one', { skip }, async t => {
  const world = await createWorld(t);
  const ports = CASES.map(([port]) => port);
  await listening(world, ports);
  await world.host('server').listen(1030);
  await world.nft(`table inet other {
\tset edges { type inet_service; flags interval; elements = { 1011, 1013-1013, 2000-3000 }; }
${CASES.map(([, , , chains]) => (chains ? `\t${chains.replace('{ }', '{\n\t}')}\n` : '')).join('')}
\tchain raw {
\t\ttype filter hook prerouting priority raw; policy accept;
\t\ttcp dport 1014 ct state invalid drop
\t\ttcp dport 1022 ct state new accept
\t}
\tchain translate {
\t\ttype nat hook prerouting priority dstnat; policy accept;
\t\ttcp dport 1022 redirect to :1030
\t\ttcp dport 1022-1023 ct status dnat redirect to :1031
\t}
\tchain input {
\t\ttype filter hook input priority 10; policy accept;
\t\tmeta l4proto != tcp accept
\t\tct state established accept
\t\ttcp dport 1030 ct status dnat drop
\t\t${CASES.map(([, , rules]) => rules)
    .filter(Boolean)
    .join('\n\t\t')}
\t\ttcp dport { ${CASES.filter(([, wanted]) => wanted === 'open')
    .map(([port]) => port)
    .join(', ')} } drop
\t}
}`);
  for (const family of families) {
    const looks = (await foretold(world, family, ports)).map(look);
    const seen = await connect(world, family, ports);
    for (const [index, [port, wanted]] of CASES.entries()) {
      t.equal(seen[index], wanted, `${family} ${port}: seen`);
      t.equal(looks[index], wanted, `${family} ${port}: foretold`);
    }
  }
});
