/** A guarded, a knock and a token port, for packets of every shape: nothing comes in, and nothing tells the ports apart. */
import t from 'tap';
import { families, look } from '../kernel/loaded.ts';
import { type AddressedPacket, addressAfter, type Protocol } from '../kernel/packet.ts';
import { frame } from './frames.ts';
import { SHAPES, type Shape } from './shapes.ts';
import { CONFIGS, createTarget, heard, needs, PORTS, SEQUENCES, type Target } from './target.ts';

type Family = (typeof families)[number];

/** Addresses behind the client, which the server routes to it, so that each packet has a source of its own. */
const FIRST = { ipv4: '198.18.0.1', ipv6: '2001:db8::1' } as const;
const NUMBER = { tcp: 6, udp: 17 } as const;

interface Case {
  readonly shape: Shape;
  readonly family: Family;
  readonly from: string;
}

/** Each shape in each family that has it, from sources that nobody used before. */
function casesOf(protocol: Protocol, nextSource: (family: Family) => string): readonly Case[] {
  return SHAPES.filter(shape => shape.protocol === protocol).flatMap(shape =>
    families
      .filter(family => shape.family === family || shape.family === 'both')
      .map(family => ({ shape, family, from: shape.from ?? nextSource(family) })),
  );
}

function sources(): (family: Family) => string {
  const used = { ipv4: 0, ipv6: 0 };
  return family => addressAfter(FIRST[family], used[family]++);
}

const named = ({ shape, family }: Case) => `${shape.protocol}, ${family}: ${shape.name}`;

function framesOf(target: Target, { shape, family, from }: Case, port: number): readonly Buffer[] {
  const packet: AddressedPacket = {
    protocol: shape.protocol,
    to: target.server[family],
    from,
    port,
    sourcePort: 20_000,
  };
  return shape.make(packet).map(bytes => frame(bytes, { to: target.macs.server, from: target.macs.client }));
}

/** Sends each case to that port. Returns what came back to its source, as `look`; `silence` if nothing did. */
async function answers(target: Target, cases: readonly Case[], port: number): Promise<readonly string[]> {
  const frames = cases.flatMap(one => framesOf(target, one, port));
  const seen = await heard(target, frames);
  return cases.map(
    ({ from }) =>
      seen
        .filter(({ to }) => to === from)
        .map(look)
        .join(', ') || 'silence',
  );
}

const setting = (path: string, value: number) =>
  `for file in /proc/sys/net/${path}; do if test -e $file; then echo ${value} >$file; fi; done`;

/** Settings that an administrator or another program may have made. They stay set. */
const LENIENT = {
  'takes what it refuses by default': [
    setting('ipv4/conf/*/accept_source_route', 1),
    setting('ipv6/conf/*/accept_source_route', 1),
    setting('ipv4/conf/*/accept_local', 1),
    setting('ipv4/conf/*/route_localnet', 1),
    setting('ipv4/conf/*/rp_filter', 0),
    setting('ipv6/conf/*/seg6_enabled', 1),
    setting('ipv6/conf/*/rpl_seg_enabled', 1),
    setting('ipv4/tcp_syncookies', 2),
    setting('ipv4/tcp_early_demux', 0),
    setting('netfilter/nf_conntrack_checksum', 0),
    setting('netfilter/nf_conntrack_tcp_be_liberal', 1),
  ].join('\n'),
  'picks up no connection from the middle': setting('netfilter/nf_conntrack_tcp_loose', 0),
  'tracks nothing at all': `nft -f - <<END
table inet untracked {
  chain prerouting {
    type filter hook prerouting priority raw
    notrack
  }
  chain output {
    type filter hook output priority raw
    notrack
  }
}
END`,
} as const;

/** Without what an expert can tell, see docs/security.md: what nmap tells apart. */
const roughly = (answer: string) => answer.split(' ').slice(0, 4).join(' ');

t.test('a packet of any shape', needs, async t => {
  const target = await createTarget(t);
  const next = sources();
  for (const [name, config] of Object.entries(CONFIGS))
    await t.test(`it neither comes in, nor shows what is there: ${name}`, async t => {
      await target.reload(config);
      const control: Case[] = [];
      for (const protocol of ['tcp', 'udp'] as const) {
        const ports: Readonly<Record<string, number>> = PORTS[protocol];
        const told = new Map<string, readonly string[]>();
        const cases = new Map<string, readonly Case[]>();
        for (const [kind, port] of Object.entries(ports)) {
          const some = casesOf(protocol, next);
          cases.set(kind, some);
          told.set(kind, await answers(target, some, port));
        }
        const { came, passed } = await target.witnessed();
        const passes = ({ from }: Case, port = 0) => passed.has(`${from} ${NUMBER[protocol]} ${port}`);
        for (const [kind, some] of cases)
          for (const one of some) {
            const which = `${named(one)}, to ${kind}`;
            if (came.has(one.from) !== (one.shape.is !== 'refused at once')) t.fail(`${which}: it came`);
            if (kind === 'drop' || kind === 'reject') {
              if (passes(one, ports[kind])) t.fail(`${which}: it was let in`);
            } else if (
              kind === 'open' &&
              passes(one, ports[kind]) !== ['new', 'no beginning'].includes(one.shape.is)
            )
              t.fail(`${which}: ${passes(one, ports[kind]) ? 'let in' : 'not let in'}, the control`);
          }
        const neighbour = told.get('neighbour') ?? [];
        for (const [kind, heard] of told)
          for (const [index, one] of (cases.get(kind) ?? []).entries()) {
            if (one.shape.from) continue; // the answers go to other hosts
            const [here = '', beside = ''] = [heard[index], neighbour[index]];
            const [seen, expected] =
              kind === 'drop' && one.shape.is !== 'not for the port' && !one.shape.discarded
                ? [here, 'silence']
                : kind === 'reject' && name !== 'policy drop' && !one.shape.discarded
                  ? [roughly(here), roughly(beside)]
                  : ['knock', 'later', 'token'].includes(kind)
                    ? [here, beside]
                    : ['', ''];
            if (seen !== expected) t.fail(`${named(one)}, to ${kind}: ${here}; beside: ${beside}`);
          }
        control.push(...(cases.get('knock') ?? []));
      }
      t.equal(await target.arrived(), 0, 'nothing arrived at a guarded service');
      const { knocking, services } = await target.state();
      const knocked = new Set(knocking.map(({ address }) => address));
      for (const one of control)
        if (!one.shape.from && knocked.has(one.from) !== (one.shape.is === 'new'))
          t.fail(`${named(one)} ${knocked.has(one.from) ? 'is' : 'is not'} a knock`);
      t.same(
        Object.values(services).map(({ opened }) => opened),
        [0, 0, 0],
        'nothing opened',
      );
    });

  await t.test('it opens if it is new, and a knock in its turn, and nothing else does', async t => {
    await target.reload();
    const opens: string[] = [];
    for (const [service, protocol] of [
      ['ssh', 'tcp'],
      ['web', 'udp'],
    ] as const) {
      const cases = casesOf(protocol, next);
      for (const knock of SEQUENCES[service]) await answers(target, cases, Number(knock.split('/')[0]));
      for (const one of cases) if (one.shape.is === 'new') opens.push(`${service} ${one.from}`);
      const inside = new Set(await target.inside());
      for (const one of cases)
        if (inside.has(`${service} ${one.from}`) !== (one.shape.is === 'new'))
          t.fail(`${named(one)}: ${one.from} ${one.shape.is === 'new' ? 'is not in' : 'is in'}`);
    }
    t.equal((await target.inside()).length, opens.length);
  });

  const settings = Object.entries(LENIENT).flatMap(([name, script]) =>
    (name === 'tracks nothing at all' ? Object.values(CONFIGS) : [{}]).map(
      config => [name, script, config] as const,
    ),
  );
  for (const [name, script, config] of settings)
    await t.test(`it does not come in if the kernel ${name}: ${JSON.stringify(config)}`, async t => {
      await target.reload(config);
      const { status, stderr } = await target.run('server', 'sh', ['-ec', script]);
      if (status !== 0) throw new Error(stderr);
      for (const protocol of ['tcp', 'udp'] as const) {
        const { open, drop, reject } = PORTS[protocol];
        for (const port of [drop, reject, open]) await answers(target, casesOf(protocol, next), port);
        const { passed } = await target.witnessed();
        const came = (port: number) => [...passed].filter(it => it.endsWith(` ${NUMBER[protocol]} ${port}`));
        t.not(came(open).length, 0, 'the control');
        t.same([...came(drop), ...came(reject)], []);
      }
      t.equal(await target.arrived(), 0);
    });
});
