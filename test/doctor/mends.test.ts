/**
 * Each thing that `doctor` finds is made to happen, what it says to do is done to the letter while a stranger tries the
 * guarded port, and `doctor` is asked again. A kind of finding that is not in the table does not compile.
 */
import t from 'tap';
import type { FindingId } from '../../src/doctor/finding.ts';
import { sshKnocks } from '../kernel/loaded.ts';
import { built } from '../kernel/swapping.ts';
import { missing as missingWorld } from '../kernel/world.ts';
import { eventually, installedLab } from '../system/installed.ts';
import { missing as missingLab } from '../system/lab.ts';
import {
  examineMachine,
  guarded,
  labMachine,
  type Machine,
  ssh,
  succeed,
  type Trial,
  tryMend,
  worldMachine,
} from './mending.ts';

/** An editor in the hands of a person: the mend opens the file, and this is saved. */
const saves = (config: object) => async (machine: Machine, mend: string) => {
  await succeed(machine, mend);
  await machine.save(config);
};

const nft = (machine: Machine, script: string) => succeed(machine, `nft -f - <<'END'\n${script}\nEND`);
const at = (hook: string, rules: string, table = 'table inet other') =>
  `${table} {\n chain c {\n type filter hook ${hook}\n ct state established accept\n meta l4proto { icmp, ipv6-icmp } accept\n ${rules}\n }\n}`;

/** Debian's, as nftables.conf comes with the package. */
const NFTABLES = `#!/usr/sbin/nft -f

flush ruleset

table inet filter {
	chain input {
		type filter hook input priority filter;
	}
}
`;
const withNftables = async (machine: Machine) => {
  await succeed(
    machine,
    `cat >/etc/nftables.conf <<'END'\n${NFTABLES}\nEND\nrm -f /etc/systemd/system/nftables.service; systemctl daemon-reload; systemctl enable --now nftables`,
  );
  await machine.save(guarded);
};

/** Rules that send packets nobody can tell where. */
const sometimes = (port: number) =>
  `table ip other {\n chain c {\n type nat hook prerouting priority dstnat\n tcp dport ${port} redirect to :numgen inc mod 2 map { 0 : 2222, 1 : 2223 }\n }\n}`;
/** From the services, not from root. */
const hide = ({ configFile }: Machine) => `chown root:root ${configFile} && chmod 600 ${configFile}`;

/** Writes the ports of a mend into the file, beside those that are guarded. */
const guardsMore =
  (config: { readonly services: { readonly ssh: { readonly ports: readonly (number | string)[] } } }) =>
  async (machine: Machine, mend: string) => {
    const [, more = ''] = /^(.*) too in services\.ssh\.ports {2}in /.exec(mend) ?? [];
    const { ports } = config.services.ssh;
    const all = [...ports, ...(JSON.parse(`[${more}]`) as string[])];
    await machine.save({ ...config, services: { ssh: { ...ssh, ports: all } } });
  };
const early = { ...guarded, hook: 'prerouting' };
const proxying = { ...guarded, services: { ssh: { ...ssh, ports: [22, 2323] } } };

const tokens = { ...guarded, services: { ssh: { ...ssh, tokens: { alice: 'a1'.repeat(32) } } } };

const HERE = { clients: ['client', 'stranger'] };

const TRIALS: Readonly<Record<FindingId, Trial | { readonly not: string }>> = {
  'automatic-helpers': { not: 'Linux 6.0 and later have no automatic helpers' },
  'connections-few': { not: 'only the network namespace of the machine itself may set nf_conntrack_max' },
  'connections-full': { not: 'only the network namespace of the machine itself may set nf_conntrack_max' },
  'datagrams-bridged': { not: 'test/attacks/links has a bridge, and shows that these rules close it' },
  'kernel-feature': { not: 'this kernel lacks nothing' },
  'no-nftables': { not: 'this kernel has nf_tables' },
  'clock-unknown': { not: "the clock is the whole machine's, and no test sets it" },
  'clock-unsynchronized': { not: "the clock is the whole machine's, and no test sets it" },
  'legacy-tables': { not: 'such a table stays until its module goes; test/cli/doctor has the command' },

  'client-kept-out': {
    on: HERE,
    async trouble(machine) {
      const { ipv4 = '' } = machine.world?.server ?? {};
      await machine.client.knock(ipv4, sshKnocks);
      await nft(
        machine,
        `table inet bans {\n set banned { type ipv4_addr; elements = { ${machine.world?.client.ipv4} }; }\n chain c {\n type filter hook input priority 0\n ip saddr @banned drop\n }\n}`,
      );
    },
  },
  'clients-dropped': {
    on: HERE,
    trouble: machine => nft(machine, at('input priority 0', 'tcp dport 22 reject with tcp reset')),
  },
  'clients-restricted': {
    on: HERE,
    trouble: machine =>
      nft(
        machine,
        at(
          'input priority 0',
          'ip saddr 198.51.100.0/24 tcp dport 22 accept\ntcp dport 22 reject with tcp reset',
        ),
      ),
  },
  'clients-unknown': {
    on: HERE,
    trouble: machine => nft(machine, at('input priority 0', 'tcp dport 22 tcp option maxseg size 400 drop')),
    async person(machine, mend) {
      if (!(await succeed(machine, mend)).includes('maxseg')) throw new Error('it shows another chain');
      await nft(machine, 'delete table inet other');
    },
  },
  'configuration-invalid': {
    on: HERE,
    trouble: async machine => machine.world?.write('{'),
    person: saves(guarded),
  },
  'configuration-weak': {
    on: HERE,
    config: { ...guarded, services: { ssh: { ...ssh, sequence: [10000, 2345] } } },
    trouble: async () => {},
    person: saves(guarded),
  },
  'environment-invalid': {
    on: HERE,
    async trouble(machine) {
      machine.before = 'KNOCKD_NFT_LOG_LEVEL=loud; export KNOCKD_NFT_LOG_LEVEL;';
    },
    async person(machine, mend) {
      machine.before += ` ${mend};`;
    },
  },
  'file-readable': { on: HERE, trouble: machine => succeed(machine, `chmod 644 ${machine.configFile}`) },
  'flush-at-stop': {
    on: 'systemd',
    trouble: withNftables,
    async person(machine, mend) {
      await succeed(machine, mend);
      // its file is another finding
      const file = (await examineMachine(machine)).find(({ id }) => id === 'flush-ruleset');
      await succeed(machine, file?.mend ?? 'true');
      for (const verb of ['restart', 'reload', 'stop', 'start'])
        await succeed(machine, `systemctl ${verb} nftables`);
      if ((await succeed(machine, 'nft list ruleset')).split('table inet filter').length !== 2)
        throw new Error('its own table is there twice, or not at all');
    },
  },
  'flush-ruleset': {
    on: 'systemd',
    trouble: withNftables,
    async person(machine, mend) {
      await succeed(machine, mend);
      await succeed(machine, 'systemctl reload nftables && systemctl reload nftables');
    },
  },
  'forwarded-past-guard': {
    on: HERE,
    wasOpen: true,
    async trouble(machine) {
      await machine.server.listen(2222);
      await nft(
        machine,
        'table inet other {\n chain c {\n type nat hook prerouting priority dstnat\n tcp dport 22 redirect to :2222\n }\n}',
      );
    },
  },
  'fwmark-reflect': { on: HERE, trouble: machine => succeed(machine, 'sysctl -w net.ipv4.fwmark_reflect=1') },
  'group-taken': {
    on: HERE,
    async trouble(machine) {
      const source = `import { Connection } from ${built('netlink/connection.js')};
import { NETLINK_NETFILTER, openSocket } from ${built('netlink/socket.js')};
import { bindGroup } from ${built('netlink/nflog.js')};
const connection = new Connection(openSocket(NETLINK_NETFILTER));
await connection.acknowledge(bindGroup(22));
console.log('has it');
setInterval(() => {}, 1e6);`;
      await machine.world
        ?.start('server', process.execPath, ['--input-type=module', '-e', source])
        .line(/has it/);
    },
  },
  held: { on: 'systemd', wasOpen: true, trouble: machine => succeed(machine, 'knockd-nft unload --force') },
  'interface-absent': {
    on: HERE,
    config: { ...guarded, interfaces: ['eth0', 'wan0'] },
    trouble: async () => {},
  },
  'knock-port-ephemeral': {
    on: HERE,
    trouble: machine => succeed(machine, 'sysctl -w "net.ipv4.ip_local_port_range=9000 11000"'),
    person: saves({ ...guarded, services: { ssh: { ...ssh, sequence: [12000, 2345, 3456, 1234] } } }),
  },
  'knock-port-in-use': {
    on: HERE,
    trouble: machine => machine.server.listen(2345),
    person: saves({ ...guarded, services: { ssh: { ...ssh, sequence: [10000, 2346, 3456, 1234] } } }),
  },
  'knocks-dropped': {
    on: HERE,
    trouble: machine => nft(machine, at('input priority -50', 'tcp dport 2345 drop')),
  },
  'knocks-forwarded': {
    on: HERE,
    trouble: machine =>
      nft(
        machine,
        'table inet other {\n chain c {\n type nat hook prerouting priority dstnat\n tcp dport 2345 redirect to :80\n }\n}',
      ),
    person: saves({ ...guarded, services: { ssh: { ...ssh, sequence: [10000, 2346, 3456, 1234] } } }),
  },
  'knocks-unknown': {
    on: HERE,
    trouble: machine =>
      nft(
        machine,
        `table ip other {\n set s { type ipv4_addr; flags dynamic; size 100; timeout 1h; }\n chain c {\n type filter hook input priority -100\n tcp dport 10000 add @s { ip saddr }\n tcp dport 1234 ip saddr @s drop\n }\n}`,
      ),
    async person(machine, mend) {
      if (!(await succeed(machine, mend)).includes('1234')) throw new Error('it shows another chain');
      await nft(machine, 'delete table ip other');
    },
  },
  'no-interface': {
    on: HERE,
    config: { ...guarded, interfaces: ['wan0'] },
    wasOpen: true,
    trouble: async () => {},
  },
  'no-supervisor': { on: 'systemd', trouble: machine => succeed(machine, 'systemctl stop knockd-nft') },
  'not-at-boot': {
    on: 'systemd',
    trouble: machine => succeed(machine, 'systemctl --quiet disable knockd-nft-load'),
  },
  'not-in-sync': {
    on: 'systemd',
    async trouble(machine) {
      await succeed(machine, 'systemctl stop knockd-nft');
      await succeed(machine, `sed -i 's/"openFor":"5m"/"openFor":"6m"/' ${machine.configFile}`);
    },
  },
  'not-loaded': {
    on: 'systemd',
    wasOpen: true,
    trouble: machine => succeed(machine, 'systemctl stop knockd-nft-load'),
  },
  'not-looked-at': {
    on: HERE,
    trouble: machine =>
      nft(
        machine,
        'table netdev early {\n chain wire {\n type filter hook ingress device "eth0" priority 0\n tcp dport 2345 drop\n }\n}',
      ),
    async person(machine, mend) {
      if (!(await succeed(machine, mend)).includes('2345')) throw new Error('it shows another chain');
      await nft(machine, 'delete table netdev early');
    },
  },
  'not-permitted': {
    on: HERE,
    async trouble(machine) {
      machine.before = 'setpriv --bounding-set=-net_admin';
    },
    async person(machine, mend) {
      machine.before = '';
      await machine.sh(mend); // examines the usual file, which is not this one
    },
  },
  'nothing-guarded': {
    on: HERE,
    config: { services: {} },
    wasOpen: true,
    trouble: async () => {},
    person: saves(guarded),
  },
  'nothing-listens': {
    on: HERE,
    config: { ...guarded, services: { ssh: { ...ssh, ports: [22, 23] } } },
    trouble: async () => {},
    async person(machine, mend) {
      if (!(await succeed(machine, mend)).includes(':22')) throw new Error('it shows no listeners');
      await machine.server.listen(23);
    },
  },
  'other-file': {
    on: 'systemd',
    async trouble(machine) {
      await succeed(machine, `cp -p ${machine.configFile} /etc/other.json`);
      machine.options = '--config /etc/other.json';
    },
    async person(machine, mend) {
      const options = /^knockd-nft (.*) doctor$/.exec(mend)?.[1];
      await succeed(machine, mend);
      machine.options = options ?? '';
    },
  },
  'reachable-around': {
    on: { ...HERE, container: true },
    config: {
      ...guarded,
      hook: 'prerouting',
      services: { ssh, web: { ...ssh, ports: [8080], sequence: [4000, 5000, 6000] } },
    },
    async trouble(machine) {
      await machine.world?.host('container').listen(80);
      await machine.world?.publish(8080, 80);
    },
  },
  'proxied-first': {
    on: HERE,
    wasOpen: true,
    trouble: machine =>
      nft(machine, at('input priority -20', 'tcp dport 22 tcp flags syn synproxy mss 1460')),
  },
  'redirected-around': {
    on: HERE,
    config: early,
    wasOpen: true,
    port: 222,
    trouble: machine =>
      nft(
        machine,
        'table inet other {\n chain c {\n type nat hook prerouting priority dstnat\n tcp dport 222 redirect to :22\n }\n}',
      ),
    person: guardsMore(early),
  },
  'services-cannot-read': {
    on: 'systemd',
    async trouble(machine) {
      await succeed(machine, 'systemctl stop knockd-nft'); // which would be troubled by it, too
      await succeed(machine, hide(machine));
    },
  },
  'stands-out': { on: HERE, config: { ...guarded, closed: 'drop' }, trouble: async () => {} },
  'supervisor-troubled': {
    on: 'systemd',
    async trouble(machine) {
      await succeed(machine, hide(machine));
      await eventually(
        () => examineMachine(machine),
        found => found.some(({ id }) => id === 'supervisor-troubled'),
        30_000,
      );
    },
    async person(machine, mend) {
      // why it is so is another finding
      const cause = (await examineMachine(machine)).find(({ id }) => id === 'services-cannot-read');
      await succeed(machine, cause?.mend ?? 'false');
      await succeed(machine, mend);
    },
  },
  'table-foreign': {
    on: HERE,
    wasOpen: true,
    trouble: machine => nft(machine, 'delete table inet knockd\nadd table inet knockd'),
  },
  'token-port-taken': {
    on: HERE,
    config: tokens,
    async trouble({ world }) {
      const script = `require('node:dgram').createSocket('udp4').bind(62201, () => console.log('bound'))`;
      await world?.start('server', process.execPath, ['-e', script]).line(/^bound$/);
    },
  },
  'tokens-ran-out': {
    on: 'systemd',
    config: tokens,
    trouble: machine =>
      succeed(
        machine,
        `systemctl stop knockd-nft && sed -i 's/"until":[0-9]*/"until":1/' /var/lib/knockd-nft/tokens.json`,
      ),
  },
  'tokens-unkept': {
    on: 'systemd',
    config: tokens,
    trouble: machine => succeed(machine, 'chown root:root /var/lib/knockd-nft'),
  },
  untracked: {
    on: HERE,
    trouble: machine =>
      nft(
        machine,
        at('prerouting priority raw', 'tcp dport 22 notrack').replace('ct state established accept\n', ''),
      ),
  },
};

/** Findings that another check makes, too. */
const MORE: readonly (readonly [FindingId, Trial])[] = [
  [
    'forwarded-past-guard',
    {
      on: HERE,
      wasOpen: true,
      async trouble(machine) {
        await machine.server.listen(2222);
        await machine.server.listen(2223);
        await nft(machine, sometimes(22));
      },
    },
  ],
  [
    'knocks-forwarded',
    {
      on: HERE,
      trouble: machine => nft(machine, sometimes(2345)),
      person: saves({ ...guarded, services: { ssh: { ...ssh, sequence: [10000, 2346, 3456, 1234] } } }),
    },
  ],
  [
    'redirected-around',
    {
      on: HERE,
      config: proxying,
      wasOpen: true,
      port: 222,
      async trouble(machine) {
        await machine.server.listen(2323, { transparent: true });
        await nft(machine, at('prerouting priority mangle', 'tcp dport 222 tproxy to :2323 accept'));
      },
      person: guardsMore(proxying),
    },
  ],
  [
    'redirected-around',
    {
      on: HERE,
      wasOpen: true,
      port: 222,
      trouble: machine => nft(machine, at('input priority 0', 'tcp dport 222 tcp dport set 22')),
      person: guardsMore(guarded),
    },
  ],
];

const entries = [...Object.entries(TRIALS), ...MORE] as [FindingId, (typeof TRIALS)[FindingId]][];
const inWorld = { skip: missingWorld('namespaces', 'knockd', 'nft') };

for (const [id, trial] of entries) {
  if ('not' in trial) t.test(id, { skip: trial.not }, async () => {});
  else if (trial.on !== 'systemd') {
    const { on } = trial;
    t.test(`${id}: found, mended as it says, gone, and not open meanwhile`, inWorld, async t => {
      const machine = await worldMachine(t, on);
      await machine.server.listen(22);
      await tryMend(t, machine, id, trial);
    });
  }
}

t.test('under systemd', { skip: missingLab() }, async t => {
  const lab = await installedLab(t);
  await lab.server().listen(22);
  const fresh = labMachine(lab);
  t.strictSame(
    (await examineMachine(fresh)).map(({ id }) => id),
    ['nothing-guarded'],
    'as the package comes, nothing is guarded, and that is said',
  );
  await fresh.save(guarded);
  t.strictSame(await examineMachine(fresh), [], 'all is well with a service');
  for (const [id, trial] of entries) {
    if ('not' in trial || trial.on !== 'systemd') continue;
    await t.test(`${id}: found, mended as it says, gone, and not open meanwhile`, async t => {
      const machine = labMachine(lab);
      try {
        await tryMend(t, machine, id, trial);
      } finally {
        // all is as it was for the next one
        await machine.sh(
          'systemctl disable --now nftables; rm -rf /etc/systemd/system/nftables.service.d; ln -sf /dev/null /etc/systemd/system/nftables.service; systemctl daemon-reload; systemctl enable knockd-nft-load knockd-nft; systemctl start knockd-nft-load knockd-nft',
        );
      }
    });
  }
});
