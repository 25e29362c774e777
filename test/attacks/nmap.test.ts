/** nmap finds nothing at the knock and token ports of a guarded host, and its guarded ports closed or silent; nothing opens. */
import t, { type Test } from 'tap';
import type { Protocol } from '../kernel/packet.ts';
import { lacking } from '../kernel/process.ts';
import { createTarget, needs, PORTS, type Target } from './target.ts';

/**
 * Each port that nmap asks for, with a closed neighbour beside it. The last knock of neither sequence is among them: scans of a
 * dozen ports, shuffled and all at once, now and then knock the others in order.
 */
const ASKED: Readonly<Record<Protocol, readonly number[]>> = {
  tcp: [21, 22, 23, 80, 2345, 2346, 8080, 8081, 9999, 10000, 10001],
  udp: [52, 53, 54, 5353, 7001, 7002, 7003, 7004, 62200, 62201, 62202],
};

interface Scan {
  readonly options: string;
  readonly protocol: Protocol;
  /** nmap's answer for an open port with closed neighbours. */
  readonly open: string;
  /** Whether nmap can scan so over IPv6. */
  readonly ipv6?: boolean;
}

const SCANS: readonly Scan[] = [
  { options: '-sS', protocol: 'tcp', open: 'open', ipv6: true },
  { options: '-sT', protocol: 'tcp', open: 'open', ipv6: true },
  { options: '-sA', protocol: 'tcp', open: 'unfiltered', ipv6: true },
  { options: '-sW', protocol: 'tcp', open: 'closed' }, // Linux gives open ports away to neither of these
  { options: '-sN', protocol: 'tcp', open: 'open|filtered', ipv6: true },
  { options: '-sF', protocol: 'tcp', open: 'open|filtered', ipv6: true },
  { options: '-sX', protocol: 'tcp', open: 'open|filtered', ipv6: true },
  { options: '-sM', protocol: 'tcp', open: 'closed' },
  { options: '-sS -f', protocol: 'tcp', open: 'open' },
  { options: '-sF -f', protocol: 'tcp', open: 'open|filtered' },
  { options: '-sS --mtu 16', protocol: 'tcp', open: 'open' },
  { options: '-sS -D 10.77.0.51,10.77.0.52,ME,198.18.7.7', protocol: 'tcp', open: 'open' },
  { options: '-sS -g 80', protocol: 'tcp', open: 'open' },
  { options: '-sS --data-length 40', protocol: 'tcp', open: 'open', ipv6: true },
  { options: '-sS --ip-options R', protocol: 'tcp', open: 'open' },
  { options: '-sS --scanflags SYNURGPSH', protocol: 'tcp', open: 'open' },
  { options: '-sS --scanflags SYNFIN', protocol: 'tcp', open: 'filtered' },
  { options: '-sS --badsum', protocol: 'tcp', open: 'filtered' },
  { options: '-sU', protocol: 'udp', open: 'open', ipv6: true },
  { options: '-sU -f --data-length 40', protocol: 'udp', open: 'open' },
  { options: '-sU -g 53 --data-length 64', protocol: 'udp', open: 'open', ipv6: true },
];

/** So many scans run at once, since a scan mostly waits. */
const AT_ONCE = 6;
const quick = '-n -Pn --max-retries 1 --initial-rtt-timeout 60ms --max-rtt-timeout 120ms --reason -oX -';

/** State, reason and TTL of the answer of each port. */
async function nmap(target: Target, words: string, ports: string, to: string): Promise<Map<number, string>> {
  const args = [
    ...words.split(' '),
    ...quick.split(' '),
    '-p',
    ports,
    ...(to.includes(':') ? ['-6', to] : [to]),
  ];
  const { status, stdout, stderr } = await target.run('client', 'nmap', args);
  if (status !== 0) throw new Error(`nmap ${args.join(' ')}: ${stderr}`);
  const found = stdout.matchAll(
    /<port [^>]*portid="(\d+)"><state state="([^"]+)" reason="([^"]+)" reason_ttl="(\d+)"/g,
  );
  return new Map(
    [...found].map(([, port, state, reason, ttl]) => [Number(port), `${state} ${reason} ${ttl}`]),
  );
}

const skip = needs.skip || lacking('nmap');

t.test('nmap, in all its ways', { skip }, async t => {
  const target = await createTarget(t);
  async function look(t: Test, { options: words, protocol, open }: Scan, to: string, closedAll: boolean) {
    const seen = await nmap(target, words, ASKED[protocol].join(), to);
    const { drop, reject, open: free, knock, later, neighbour } = PORTS[protocol];
    const at = (port: number) => seen.get(port) ?? 'not told';
    const [state = ''] = at(free).split(' ');
    t.equal(state, open, `${words} ${to}: the control`);
    const beside = at(neighbour);
    const expected: [number, string][] = [knock, later, ...(protocol === 'udp' ? [PORTS.udp.token] : [])].map(
      port => [port, beside],
    );
    if (closedAll) expected.push([drop, beside]);
    else expected.push([reject, beside]);
    for (const port of ASKED[protocol])
      if (port !== drop && port !== reject && port !== free) expected.push([port, beside]);
    for (const [port, wanted] of expected)
      if (at(port) !== wanted) t.fail(`${words} ${to}: ${port} is ${at(port)}, beside ${wanted}`);
    if (!closedAll) t.match(at(drop), / no-response 0$/, `${words} ${to}: silence at ${drop}`);
  }
  for (const policy of ['accept', 'drop'] as const) {
    await t.test(`knock, token and guarded ports are as their neighbours: policy ${policy}`, async t => {
      await target.reload(policy === 'drop' ? { policy, public: [80, '5353/udp'] } : {});
      const { ipv4, ipv6 } = target.server;
      const runs = SCANS.flatMap(scan => [
        [scan, ipv4] as const,
        ...(scan.ipv6 ? [[scan, ipv6] as const] : []),
      ]);
      await Promise.all(
        Array.from({ length: AT_ONCE }, async () => {
          for (let run = runs.shift(); run; run = runs.shift()) await look(t, ...run, policy === 'drop');
        }),
      );
      t.equal(await target.arrived(), 0);
    });
  }
  await t.test('protocols that nobody speaks are so at each port', async t => {
    await target.reload();
    const sctp = await nmap(target, '-sY', ASKED.tcp.join(), target.server.ipv4);
    t.same([...new Set(sctp.values())], ['filtered proto-unreach 64']);
    const protocols = async () => {
      const found = await nmap(target, '-sO', '1,2,4,6,17,33,41,47,50,51,132,136', target.server.ipv4);
      return [...found].map(([protocol, answer]) => `${protocol} ${answer.split(' ')[0]}`);
    };
    const guarded = await protocols();
    t.equal(await target.arrived(), 0);
    await target.run('server', 'nft', ['delete', 'table', 'inet', 'knockd']);
    t.same(await protocols(), guarded, 'as without a table of ours');
  });
  await t.test('a scan of all ports finds the open ones, and no others', async t => {
    await target.reload();
    const before = await target.arrived();
    for (const [words, protocol] of [
      ['-sS', 'tcp'],
      ['-sU', 'udp'],
    ] as const) {
      const fast = `${words} --min-rate 20000 --max-retries 0`;
      const { open } = PORTS[protocol];
      const found = new Set<number>();
      // at this rate, without retries, a busy machine may lose an answer
      for (let tries = 5; tries > 0 && !found.has(open); tries--)
        for (const [port, state] of await nmap(target, fast, '-', target.server.ipv4))
          if (state.startsWith('open ')) found.add(port);
      t.same([...found], [open]);
    }
    const { services } = await target.state();
    t.same(
      Object.values(services).map(({ opened, clients }) => [opened, clients.length]),
      [
        [0, 0],
        [0, 0],
        [0, 0],
      ],
    );
    t.equal(await target.arrived(), before);
  });
});
