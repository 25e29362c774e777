/** The checks as pure functions: facts in, findings out, each both ways. */

import t, { type Test } from 'tap';
import { parseConfig } from '../../src/config/parse.ts';
import { ConfigError, type Problem } from '../../src/config/problems.ts';
import type { Config } from '../../src/config/types.ts';
import { examine } from '../../src/doctor/doctor.ts';
import type { Facts, HostInterface, KernelFacts, ServiceFacts } from '../../src/doctor/facts.ts';
import { type Finding, list } from '../../src/doctor/finding.ts';
import { flushesOf, unitsOf } from '../../src/doctor/flushes.ts';
import { register } from '../../src/nftables/register.ts';
import type { Rule } from '../../src/nftables/ruleset.ts';
import { host32 } from '../../src/ruleset/match.ts';
import { shellWord } from '../../src/terminal/shell.ts';

const PATH = '/etc/knockd-nft.json';
const text =
  '{ "services": { "ssh": { "ports": [22], "sequence": [10000, 2345, 3456, 1234] } }, "closed": "reject" }';
const { config } = parseConfig(text, PATH, {});
const eth0: HostInterface = {
  name: 'eth0',
  index: 2,
  addresses: { ipv4: Buffer.from([192, 0, 2, 1]) },
  networks: [{ family: 'ipv4', address: Buffer.from([192, 0, 2, 0]), length: 24 }],
};

/** A host without problems. */
const read: Extract<KernelFacts, { is: 'read' }> = {
  is: 'read',
  lacking: [],
  canCut: true,
  table: { is: 'loaded', inSync: true },
  tables: [],
  unseen: [],
  trackingBridges: [],
  clients: [],
};
const service: ServiceFacts = {
  supervisor: { pid: 123, config: PATH },
  hold: undefined,
  troubles: [],
  systemd: { installed: true, enabled: true, flushes: [] },
  groupOwner: 'supervisor',
};
const well: Facts = {
  file: { path: PATH, mode: 0o640, owner: 0, user: 0, problems: [], secretFiles: [], unreadable: undefined },
  config,
  kernel: read,
  service,
  tokens: undefined,
  host: {
    release: '6.12.0',
    families: ['ipv4'],
    interfaces: [eth0],
    looked: { at: ['eth0'], past: [], astray: [] },
    ways: [eth0],
    listeners: [{ protocol: 'tcp', port: 22, loopback: false, address: Buffer.alloc(4), inode: 1 }],
    ephemeral: { first: 32768, last: 60999 },
    conntrack: { count: 12, max: 262_144 },
    switches: new Set(),
    legacyTables: [],
  },
};

const findings = (facts: Facts): Finding[] => examine(facts).flatMap(it => it.findings);
/** The only finding. */
function only(t: Test, facts: Facts): Finding | undefined {
  const found = findings(facts);
  t.equal(found.length, 1, found.map(({ id }) => id).join());
  return found[0];
}
const withService = (change: Partial<ServiceFacts>): Facts => ({
  ...well,
  service: { ...service, ...change },
});
const withKernel = (kernel: KernelFacts): Facts => ({ ...well, kernel });
const withHost = (change: Partial<Facts['host']>): Facts => ({ ...well, host: { ...well.host, ...change } });

t.test('if all is well, there is a line for each check and no finding', async t => {
  t.strictSame(
    examine(well).map(({ name, fine }) => `${name}: ${fine}`),
    [
      'configuration: /etc/knockd-nft.json: 1 service',
      'kernel: Linux 6.12.0 has what is needed',
      'table: inet knockd is loaded, as the file says',
      'service: the supervisor runs (process 123)',
      'other tables: there are none',
      'guarded ports: services listen there',
      'knocks: they reach our table and no other program',
      'appearance: guarded ports look like those beside them',
      'settings: 12 of 262144 connections are tracked',
    ],
  );
  t.strictSame(findings(well), []);
});

t.test('if no service has ports, doctor says nothing of guarded ones', async t => {
  const wake = '{ "services": { "wake": { "ports": [], "sequence": [7000, 5001, 9002] } } }';
  const events: Facts = {
    ...well,
    config: parseConfig(wake, PATH, {}).config,
    host: { ...well.host, listeners: [] },
  };
  const fine = examine(events).map(({ name, fine }) => `${name}: ${fine}`);
  t.ok(fine.includes('guarded ports: there are none'), fine.join('; '));
  t.ok(fine.includes('appearance: there are no guarded ports'), fine.join('; '));
  t.strictSame(findings(events), []);
  const flush = {
    unit: 'nftables.service',
    when: 'it loads',
    file: '/etc/nftables.conf',
    tables: [],
  } as const;
  const without: readonly Facts[] = [
    { ...events, kernel: { ...read, table: { is: 'not loaded', inSync: false } } },
    { ...events, kernel: { ...read, table: { is: 'foreign', inSync: false } } },
    { ...events, service: { ...service, systemd: { installed: true, enabled: false, flushes: [flush] } } },
  ];
  for (const { id, why } of without.flatMap(findings)) t.match(why, /no knock is seen, and no token/, id);
});

t.test('a policy guards, also without services', async t => {
  const closed: Facts = {
    ...well,
    config: parseConfig('{ "services": {}, "policy": "drop" }', PATH, {}).config,
  };
  t.notOk(findings(closed).some(({ id }) => id === 'nothing-guarded'));
  const lost = findings({ ...closed, kernel: { ...read, table: { is: 'not loaded', inSync: false } } });
  t.match(lost, [{ id: 'not-loaded', why: /nothing is guarded/ }]);
});

function problemsOf(text: string): readonly Problem[] {
  try {
    return parseConfig(text, PATH, {}).warnings;
  } catch (error) {
    if (error instanceof ConfigError) return error.problems;
    throw error;
  }
}

t.test(
  'each mistake in the file is a finding with its place, and all that can be checked is checked',
  async t => {
    const problems = problemsOf('{ "services": { "ssh": { "ports": [0], "sequence": 5 } } }');
    const facts: Facts = { ...well, config: undefined, file: { ...well.file, problems } };
    const found = findings(facts);
    t.match(found, [
      {
        id: 'configuration-invalid',
        severity: 'broken',
        what: /^\/etc\/knockd-nft.json:1:36: /,
        mend: `sudoedit ${PATH}`,
      },
      { id: 'configuration-invalid', severity: 'broken', what: /^\/etc\/knockd-nft.json:1:52: / },
    ]);
    t.strictSame(
      examine(facts).map(({ name }) => name),
      ['configuration', 'kernel', 'table', 'service'],
    );
  },
);

t.test('the rights of the file', async t => {
  const problem = (message: string, severity: Problem['severity'] = 'error'): Problem => ({
    severity,
    file: PATH,
    line: null,
    column: null,
    message,
  });
  const mend = (file: Partial<Facts['file']>) => only(t, { ...well, file: { ...well.file, ...file } })?.mend;
  const problems = [problem('x')];
  t.equal(mend({ problems, mode: undefined, owner: undefined }), `knockd-nft --config ${PATH} init`);
  t.equal(mend({ problems, mode: 0o666 }), `chmod go-w ${PATH}`);
  t.equal(mend({ problems, mode: 0o600, owner: 1000 }), `chown root ${PATH}`);
  t.equal(mend({ problems, mode: 0o600, owner: 0 }), `ls -l ${PATH}`);
  t.equal(mend({ problems, mode: 0o640, owner: 0, user: 1000 }), `sudo knockd-nft --config ${PATH} doctor`);
  const readable = only(t, {
    ...well,
    file: { ...well.file, mode: 0o644, problems: [problem('x', 'warning')] },
  });
  t.match(readable, { id: 'file-readable', severity: 'risk', mend: `chmod o-r ${PATH}` });
});

t.test('a weak sequence is a note; a wrong variable is broken', async t => {
  const weak = problemsOf('{ "services": { "ssh": { "ports": [22], "sequence": [10000, 2345] } } }');
  t.match(only(t, { ...well, file: { ...well.file, problems: weak } }), {
    id: 'configuration-weak',
    severity: 'note',
  });
  const variable = {
    severity: 'error',
    file: 'KNOCKD_NFT_LOG_LEVEL',
    line: null,
    column: null,
    message: 'x',
  } as const;
  t.match(only(t, { ...well, config: undefined, file: { ...well.file, problems: [variable] } }), {
    id: 'environment-invalid',
    severity: 'broken',
    mend: 'unset KNOCKD_NFT_LOG_LEVEL',
  });
});

t.test('a file without a service guards nothing', async t => {
  const problems = problemsOf('{ "services": {} }');
  const { config } = parseConfig('{ "services": {} }', PATH, {});
  t.match(only(t, { ...well, config, file: { ...well.file, problems } }), {
    id: 'nothing-guarded',
    severity: 'broken',
    mend: /^sudoedit /,
  });
});

t.test('a kernel that we may not ask, that has no nf_tables, or not all of it', async t => {
  t.match(only(t, withKernel({ is: 'not permitted' })), {
    id: 'not-permitted',
    severity: 'broken',
    what: /CAP_NET_ADMIN/,
  });
  t.match(only(t, withKernel({ is: 'absent', reason: 'EOPNOTSUPP' })), {
    id: 'no-nftables',
    mend: /^modprobe -a nf_tables /,
  });
  t.match(findings(withKernel({ ...read, lacking: ['the socket expression', 'rate limits'] })), [
    { id: 'kernel-feature', severity: 'broken', what: 'the kernel lacks the socket expression' },
    { id: 'kernel-feature', what: 'the kernel lacks rate limits' },
  ]);
});

t.test('a kernel that cannot end connections is named by its module, and still guards', async t => {
  t.match(findings(withKernel({ ...read, canCut: false })), [
    { id: 'kernel-feature', severity: 'note', what: /module tcp_diag/, mend: 'modprobe -a tcp_diag' },
  ]);
});

t.test('a table that is not there, not ours, or not as the file says', async t => {
  const withTable = (table: typeof read.table) => withKernel({ ...read, table });
  const load = 'systemctl reload-or-restart knockd-nft-load && systemctl start knockd-nft';
  t.match(only(t, withTable({ is: 'not loaded', inSync: false })), {
    id: 'not-loaded',
    severity: 'broken',
    mend: load,
  });
  t.match(only(t, withTable({ is: 'foreign', inSync: false })), {
    id: 'table-foreign',
    severity: 'broken',
    mend: /^"table": /,
  });
  t.match(only(t, withTable({ is: 'loaded', inSync: false })), {
    id: 'not-in-sync',
    severity: 'broken',
    mend: load,
  });
  const alone = {
    ...withTable({ is: 'not loaded', inSync: false }),
    service: { ...service, systemd: undefined },
  };
  t.equal(only(t, alone)?.mend, `knockd-nft --config ${PATH} load`, 'without units');
  // while something is tried, the kernel has that, not the file
  const trying = {
    ...withTable({ is: 'loaded', inSync: false }),
    service: { ...service, hold: { reason: 'trying x', until: Date.now() + 9000 } },
  };
  t.match(only(t, trying), { id: 'held', severity: 'broken', mend: 'knockd-nft confirm' });
});

t.test('the units and programs that keep the table in place', async t => {
  t.match(only(t, withService({ hold: { reason: 'unloaded by hand', until: null } })), {
    id: 'held',
    severity: 'risk',
    what: 'the supervisor leaves the kernel as it is: unloaded by hand',
    mend: 'systemctl reload knockd-nft',
  });
  t.match(only(t, withService({ supervisor: undefined })), {
    id: 'no-supervisor',
    severity: 'note',
    mend: 'systemctl start knockd-nft',
  });
  t.match(only(t, withService({ supervisor: { pid: 1, config: '/tmp/other.json' } })), {
    id: 'other-file',
    mend: 'knockd-nft --config /tmp/other.json doctor',
  });
  const systemd = { installed: true, enabled: false, flushes: [] };
  t.match(only(t, withService({ systemd })), {
    id: 'not-at-boot',
    severity: 'risk',
    mend: 'systemctl enable knockd-nft-load knockd-nft',
  });
  t.match(only(t, withService({ systemd: { ...systemd, installed: false } })), {
    id: 'not-at-boot',
    mend: /^apt install /,
  });
  t.strictSame(
    findings(withService({ systemd: undefined })),
    [],
    'in a container, say, it is not ours to know',
  );
  t.match(only(t, withService({ groupOwner: 'other' })), {
    id: 'group-taken',
    severity: 'risk',
    mend: `"group": 23  in log in ${PATH}`,
  });
  t.strictSame(findings(withService({ groupOwner: undefined })), []);
});

t.test('a service that empties the ruleset when it loads, and when it stops', async t => {
  const unit = 'nftables.service';
  const loads = {
    unit,
    when: 'it loads',
    file: '/etc/nftables.conf',
    tables: ['inet filter', 'ip nat'],
  } as const;
  const systemd = { installed: true, enabled: true, flushes: [loads] };
  t.match(only(t, withService({ systemd })), {
    id: 'flush-ruleset',
    severity: 'note',
    what: 'nftables.service empties the whole ruleset when it starts or is reloaded, our table with it (/etc/nftables.conf)',
    why: /^the supervisor puts it back/,
    mend: String.raw`sed -i 's/^[[:space:]]*flush ruleset.*/table inet filter\ndelete table inet filter\ntable ip nat\ndelete table ip nat/' /etc/nftables.conf`,
  });
  t.match(findings(withService({ systemd, supervisor: undefined })), [
    { id: 'no-supervisor' },
    { severity: 'risk' },
  ]);
  t.match(only(t, withService({ systemd: { ...systemd, flushes: [{ ...loads, tables: [] }] } })), {
    mend: /^sudoedit \/etc\/nftables.conf {2}# /,
  });
  const stops = { ...loads, when: 'it is stopped' } as const;
  t.match(only(t, withService({ systemd: { ...systemd, flushes: [stops] } })), {
    id: 'flush-at-stop',
    severity: 'note',
    mend: String.raw`mkdir -p /etc/systemd/system/nftables.service.d && printf '[Service]\nExecStop=\nExecStop=nft "table inet filter; delete table inet filter; table ip nat; delete table ip nat"\n' >/etc/systemd/system/nftables.service.d/own-tables.conf && systemctl daemon-reload`,
  });
  t.match(only(t, withService({ systemd: { ...systemd, flushes: [{ ...stops, tables: [] }] } })), {
    mend: /printf '\[Service\]\\nExecStop=\\n' /,
  });
});

t.test('units are read as systemd shows them, and their scripts', async t => {
  const command = (name: string, argv: string) =>
    `${name}={ path=/usr/sbin/nft ; argv[]=${argv} ; ignore_errors=no ; start_time=[n/a] ; pid=0 }`;
  const text = (...lines: readonly string[]) => lines.join('\n');
  const nftables = text(
    'Id=nftables.service',
    'ActiveState=active',
    'UnitFileState=disabled',
    command('ExecStart', '/usr/sbin/nft -f /etc/nftables.conf'),
    command('ExecReload', '/usr/sbin/nft -f /etc/nftables.conf'),
    command('ExecStop', '/usr/sbin/nft flush ruleset'),
  );
  const others = text(
    'Id=other.service',
    'ActiveState=inactive',
    'UnitFileState=disabled',
    command('ExecStop', '/usr/sbin/nft flush ruleset'),
  );
  const own = text(
    'Id=own.service',
    'ActiveState=inactive',
    'UnitFileState=enabled',
    command('ExecStart', '/sbin/nft --file /etc/own.nft'),
  );
  const files: Record<string, string> = {
    '/etc/nftables.conf': '#!/usr/sbin/nft -f\n\nflush ruleset\n\ntable inet filter {\n}\n table nat { }',
    '/etc/own.nft': 'flush ruleset;\ninclude "/etc/nftables.d/*"\ntable inet filter { }',
  };
  const read = (path: string) => files[path] ?? '';
  const found = unitsOf([nftables, others, own].join('\n\n')).flatMap(it => flushesOf(it, read));
  const [unit, file, tables] = ['nftables.service', '/etc/nftables.conf', ['inet filter', 'ip nat']];
  t.strictSame(found, [
    { unit, when: 'it loads', file, tables },
    { unit, when: 'it is stopped', file, tables },
    { unit: 'own.service', when: 'it loads', file: '/etc/own.nft', tables: [] },
  ]);
  files['/etc/nftables.conf'] = '# flush ruleset\ntable inet filter {\n}\n';
  const mended = nftables.replace('flush ruleset', 'table inet filter; delete table inet filter');
  t.strictSame(
    unitsOf(mended).flatMap(it => flushesOf(it, read)),
    [],
  );
  t.strictSame(unitsOf(''), [], 'no systemctl');
});

t.test('the table of connections: room enough, little, and nearly none', async t => {
  t.match(only(t, withHost({ conntrack: { count: 10, max: 8192 } })), {
    id: 'connections-few',
    severity: 'note',
    what: 'the kernel tracks at most 8192 connections',
    mend: /^sysctl -w net.netfilter.nf_conntrack_max=262144 /,
  });
  t.match(only(t, withHost({ conntrack: { count: 250_000, max: 262_144 } })), {
    id: 'connections-full',
    severity: 'risk',
    what: '250000 of 262144 connections that the kernel can track are in use',
    mend: /nf_conntrack_max=524288/,
  });
  t.strictSame(findings(withHost({ conntrack: { count: 65_000, max: 262_144 } })), []);
  t.strictSame(findings(withHost({ conntrack: undefined })), [], 'not loaded yet');
});

t.test('automatic helpers matter if all other ports are closed', async t => {
  const switches = new Set(['net.netfilter.nf_conntrack_helper']);
  t.strictSame(findings(withHost({ switches })), []);
  const closed = {
    ...config,
    policy: 'drop',
    services: config.services.map(it => ({ ...it, closed: 'drop' as const })),
  } as const;
  t.match(only(t, { ...withHost({ switches }), config: closed }), {
    id: 'automatic-helpers',
    severity: 'note',
  });
  t.strictSame(findings({ ...well, config: closed }), []);
});

t.test('a bridge whose frames are tracked matters if UDP is guarded', async t => {
  const switches = new Set(['net.bridge.bridge-nf-call-iptables']);
  t.strictSame(findings(withHost({ switches })), [], 'a SYN needs an opening whatever tracking knows');
  const udp = { protocol: 'udp', first: 51820, last: 51820 } as const;
  const services = config.services.map(it => ({ ...it, ports: [...it.ports, udp] }));
  const bridged = {
    ...withHost({ switches }),
    config: { ...config, services },
  };
  t.match(
    findings(bridged).find(({ id }) => id === 'datagrams-bridged'),
    { severity: 'risk', mend: /^nft 'add table inet bridged; .*fib saddr type local drop' / },
  );
  const local = { kind: 'cmp', sreg: register(0), op: 'eq', value: host32(2) } as const;
  const drop = { kind: 'immediate', verdict: { code: 'drop' } } as const;
  const accept = { kind: 'immediate', verdict: { code: 'accept' } } as const;
  const [to, from] = (['daddr type', 'saddr type'] as const).map(result => ({
    expressions: [{ kind: 'fib', result, dreg: register(0) } as const, local, drop],
  }));
  /** `fib saddr . iif oif missing drop` */
  const reverse = {
    expressions: [
      {
        kind: 'unknown',
        name: 'fib',
        raw: Buffer.from('080003000000002908000200000000010800010000000008', 'hex'),
      } as const,
      { kind: 'cmp', sreg: register(0), op: 'eq', value: host32(0) } as const,
      drop,
    ],
  };
  /** `meta pkttype != host fib daddr type local drop` */
  const toEveryone = {
    expressions: [
      {
        kind: 'unknown',
        name: 'meta',
        raw: Buffer.from('08000200000000130800010000000008', 'hex'),
      } as const,
      { kind: 'cmp', sreg: register(0), op: 'neq', value: Buffer.from([0]) } as const,
      ...(to?.expressions ?? []),
    ],
  };
  const stays = (
    rules: readonly (Rule | undefined)[],
    early: readonly Rule[] = [toEveryone],
    hook: Config['hook'] = 'input',
  ) => {
    const chain = (name: 'prerouting' | 'forward', rules: readonly (Rule | undefined)[]) =>
      [
        name,
        {
          name,
          hook: { name, priority: 0, policy: 'accept' },
          rules: rules.flatMap(rule => rule ?? []),
        },
      ] as const;
    const table = {
      family: 'inet',
      name: 'bridged',
      chains: new Map([chain('prerouting', early), chain('forward', rules)]),
      sets: new Map(),
    } as const;
    const config = { ...bridged.config, hook };
    const found = findings({ ...bridged, config, kernel: { ...read, tables: [table] } });
    return found.some(({ id }) => id === 'datagrams-bridged');
  };
  t.notOk(stays([to, from]), 'the rules of the mend');
  t.notOk(stays([{ expressions: [drop] }]), 'nothing is passed on');
  t.ok(stays([to, from], []), 'a frame for everyone still comes in');
  t.notOk(stays([to, from], [], 'prerouting'), 'which the guards before DNAT see in time');
  t.ok(stays([to]), 'the answer to a datagram is still passed on');
  t.ok(stays([from]), 'a datagram to us is still passed on');
  t.ok(stays([reverse]), 'a check of the way back says nothing of frames within one bridge');
  t.ok(stays([{ expressions: [accept] }, to, from]), 'they come too late');
});

t.test('a table of a bridge that asks ct matters if UDP is guarded', async t => {
  const kernel = { ...read, trackingBridges: ['guests', 'of $HOME'] };
  t.strictSame(findings(withKernel(kernel)), []);
  const ports = [{ protocol: 'udp', first: 51820, last: 51820 } as const];
  const udp = { ...config, services: config.services.map(it => ({ ...it, ports })) };
  t.match(
    findings({ ...withKernel(kernel), config: udp }).find(({ id }) => id === 'datagrams-bridged'),
    {
      severity: 'note',
      what: 'table bridge guests and table bridge of $HOME ask ct, and UDP ports are guarded',
      mend: `nft list table bridge guests && nft list table bridge 'of $HOME'`,
    },
  );
});

t.test('tables of iptables-legacy are out of sight', async t => {
  t.match(only(t, withHost({ legacyTables: ['ip nat', 'ip filter', 'ip6 filter'] })), {
    id: 'legacy-tables',
    severity: 'note',
    mend: /^iptables-legacy-save; ip6tables-legacy-save /,
  });
});

t.test('listeners that could not be read are not told to be missing', async t => {
  t.strictSame(findings(withHost({ listeners: undefined })), []);
});

t.test('no finding shows a knock', async t => {
  const everything: Facts = {
    ...withHost({
      listeners: [1234, 2345, 3456, 10000].map(port => ({
        protocol: 'tcp',
        port,
        loopback: false,
        address: Buffer.alloc(4),
        inode: 1,
      })),
      ephemeral: { first: 9000, last: 11000 },
    }),
  };
  t.notMatch(JSON.stringify(findings(everything)), /1234|2345|3456|10000/);
  t.match(
    findings(everything).find(({ id }) => id === 'knock-port-in-use')?.what,
    /knock 1, .*knock 2, .*knock 3 and .*knock 4/,
  );
});

t.test('lists and words', async t => {
  t.equal(list(['a']), 'a');
  t.equal(list(['a', 'b', 'c', 'd']), 'a, b, c and d');
  t.equal(list(['a', 'b', 'c', 'd', 'e', 'f']), 'a, b, c and 3 more');
  t.equal(shellWord('/etc/knockd-nft.json'), '/etc/knockd-nft.json');
  t.equal(shellWord("a b'c"), `'a b'\\''c'`);
});

t.test(
  'tokens: a clock that nobody can believe, no more of them, no record, and a program on their port',
  t => {
    const service = {
      ...{ name: 'ssh', ports: [], sequences: [], tokens: [{ user: 'alice', secret: Buffer.alloc(32) }] },
      ...{ knockTimeout: 5000, openFor: 10_000, singleUse: false, closed: 'drop' as const },
    };
    const { config } = well;
    if (!config) throw new Error('a configuration');
    const listener = { protocol: 'udp', port: 62201, address: Buffer.from([0, 0, 0, 0]), program: 'other' };
    const ids = (tokens: Facts['tokens'], listeners: unknown[] = []) =>
      examine({
        ...well,
        config: { ...config, services: [service] },
        host: { ...well.host, listeners: listeners as Facts['host']['listeners'] },
        tokens,
      })
        .filter(({ name }) => name === 'tokens')
        .flatMap(({ findings }) => findings.map(({ id }) => id));
    const fine = { now: 1e12, clock: 'fine', folder: undefined, until: 1e12 + 1 } as const;
    t.same(ids(fine), []);
    t.same(ids({ ...fine, clock: 'waits' }), ['clock-unknown']);
    t.same(ids({ ...fine, clock: 'unsynchronized' }), ['clock-unsynchronized']);
    t.same(ids({ ...fine, until: 1e12 }), ['tokens-ran-out']);
    t.same(ids({ ...fine, folder: { path: '/var/lib/knockd-nft', why: 'EROFS' } }), ['tokens-unkept']);
    t.same(ids(fine, [listener]), ['token-port-taken']);
    t.same(ids(undefined), []);
    t.end();
  },
);
