/** knockd.confs as they are in use, and what becomes of them. */
import fc from 'fast-check';
import t from 'tap';
import { parseConfig } from '../../src/config/parse.ts';
import { parseWellKnown } from '../../src/host/well-known.ts';
import { convert } from '../../src/import/convert.ts';
import { parseKnockdConf } from '../../src/import/knockd-conf.ts';
import { damaged } from './arbitrary.ts';

const names = parseWellKnown('ssh 22/tcp\nhttp 80/tcp\nhttps 443/tcp\n').portOf;

interface Result {
  readonly services: unknown;
  readonly interfaces: unknown;
  /** `LINE: [door] message` */
  readonly notes: readonly string[];
}

function converted(text: string): Result {
  const conf = parseKnockdConf(text);
  if ('problems' in conf) throw new Error(JSON.stringify(conf.problems));
  const { text: made, configuration, notes } = convert(conf, 'knockd.conf', names);
  if (made !== undefined) {
    const { config } = parseConfig(made, 'made', {});
    const again = parseConfig(JSON.stringify(configuration), 'made', {});
    t.same(config, again.config, 'both forms are valid, and say the same');
  }
  return {
    services: configuration?.services,
    interfaces: configuration?.interfaces,
    notes: notes.map(({ line, door, message }) => `${line}: ${door === null ? '' : `[${door}] `}${message}`),
  };
}

const open = (port: number) => `/sbin/iptables -A INPUT -s %IP% -p tcp --dport ${port} -j ACCEPT`;
const close = (port: number) => open(port).replace('-A', '-D');

t.test("a door that opens and one that closes, as in Debian's example", async t => {
  const { services, notes } = converted(`[options]
	UseSyslog

[openSSH]
	sequence    = 7000,8000,9000
	seq_timeout = 5
	command     = ${open(22)}
	tcpflags    = syn

[closeSSH]
	sequence    = 9000,8000,7000
	seq_timeout = 5
	command     = ${close(22)}
	tcpflags    = syn
`);
  t.same(services, {
    ssh: { ports: [22], sequence: [7000, 8000, 9000], knockTimeout: '5s', openFor: '10s' },
  });
  t.match(notes, [
    /^2: UseSyslog: events are in the journal/,
    /^6: \[openSSH\] Seq_Timeout was for the whole sequence; here 5s is the longest pause/,
    /^7: \[openSSH\] stayed open until it was closed; here clients may connect for 10s/,
    /^13: \[closeSSH\] not carried over: it closes what another door opens/,
  ]);
  t.equal(notes.length, 4);
});

t.test('a door that closes by itself, with UDP knocks', async t => {
  const { services, interfaces, notes } = converted(`[options]
LogFile = /var/log/knockd.log
PidFile = /run/knockd.pid
Interface = ens3
[opencloseSSH]
Sequence = 2222:udp,3333:tcp,4444:UDP
Seq_Timeout = 15
Start_Command = ${open(22)}
Cmd_Timeout = 3600
Stop_Command = ${close(22)}
TCPFlags = syn,!ack
`);
  t.same(services, {
    ssh: { ports: [22], sequence: ['2222/udp', 3333, '4444/udp'], knockTimeout: '15s', openFor: '1h' },
  });
  t.same(interfaces, ['ens3']);
  t.match(notes, [
    /^2: LogFile/,
    /^3: PidFile/,
    /^4: Interface: knocks count and ports are guarded only on ens3/,
    /^7: \[opencloseSSH\] Seq/,
  ]);
  t.equal(notes.length, 4);
});

t.test('the defaults of knockd are written out', async t => {
  const { services, notes } = converted(
    `[ssh]\nsequence=1,2,4\nstart_command=ufw allow from %IP% to any port 22 proto tcp\nstop_command=ufw delete allow from %IP% to any port 22 proto tcp`,
  );
  t.match(services, { ssh: { ports: [22], knockTimeout: '25s', openFor: '10s' } });
  t.same(notes, []);
});

t.test('doors that open the same ports are users of one service', async t => {
  const { services, notes } = converted(`[alice]
sequence = 1000,2000,3000
start_command = ${open(22)}
cmd_timeout = 60
stop_command = ${close(22)}
[Bob Müller]
sequence = 1000,3000,2000
seq_timeout = 40
start_command = ${open(22)}
cmd_timeout = 30
stop_command = ${close(22)}
[alice]
sequence = 5000,3000,2000
start_command = ${open(22)}
cmd_timeout = 30
stop_command = ${close(22)}
`);
  t.same(services, {
    alice: {
      ports: [22],
      sequences: {
        alice: [1000, 2000, 3000],
        'bob-m-ller': [1000, 3000, 2000],
        'alice-2': [5000, 3000, 2000],
      },
      knockTimeout: '40s',
      openFor: '30s',
    },
  });
  t.match(notes, [
    /^1: \[alice\] shares its ports with \[Bob Müller\], and so its shorter "openFor"/,
    /^8: \[Bob/,
  ]);
});

t.test('a port belongs to one service', async t => {
  const both = open(22).replace('--dport 22', '-m multiport --dports 22,80');
  const { services, notes } = converted(`[ssh]
sequence = 1000,2000,3000
start_command = ${open(22)}
stop_command = ${close(22)}
[all]
sequence = 4000,2000,3000
start_command = ${both}
stop_command = ${close(22)}
[web]
sequence = 5000,2000,3000
start_command = ${open(80)}
stop_command = ${close(80)}
[range]
sequence = 6000,2000,3000
start_command = ${open(22).replace('22', '20:25')}
stop_command = ${close(22)}
`);
  t.match(services, {
    ssh: { ports: [22] },
    all: { ports: [80], sequences: { all: [4000, 2000, 3000], web: [5000, 2000, 3000] } },
  });
  t.match(notes, [
    /^7: \[all\] opens only 80\/tcp here: 22\/tcp is opened by \[ssh\] \(line 3\)/,
    /^15: \[range\] not carried over: 20-25\/tcp is opened by \[ssh\] \(line 3\)/,
  ]);
  t.equal(notes.length, 2);
});

t.test('impossible sequences are reported, with both lines, and without a knock', async t => {
  const door = (name: string, sequence: string, port: number) =>
    `[${name}]\nsequence=${sequence}\nstart_command=${open(port)}\nstop_command=${close(port)}\n`;
  const { services, notes } = converted(
    [
      door('good', '51000,52000,53000', 22),
      door('repeats', '54000,54000,55000', 23),
      door('longer', '51000,52000,53000,54000', 24),
      door('shorter', '51000,52000', 25),
      door('itself', '51001,26,51003', 26),
      door('others', '51001,22,51003', 27),
      door('knocked', '51004,51005,51006', 52_000),
      door('udp', '51000:udp,22:udp,53000', 28),
      door('high', '51000,70000,53000', 29),
      door('zero', '51000,0,53000', 30),
      door('trailing', '51000,', 31),
      door('sctp', '51000:sctp,1', 32),
      door('many', Array.from({ length: 33 }, (_, index) => 51_100 + index).join(), 33),
    ].join(''),
  );
  t.same(Object.keys(services as object), ['good', 'udp']);
  t.match(notes, [
    /^6: \[repeats\] not carried over: knock 2 is the same as the one before.*: choose another sequence$/,
    /^10: \[longer\] not carried over: its sequence and that of \[good\] \(line 2\) begin alike/,
    /^14: \[shorter\] not carried over: its sequence and that of \[good\] \(line 2\) begin alike/,
    /^18: \[itself\] not carried over: a knock goes to a port that \[itself\] \(line 19\) opens/,
    /^22: \[others\] not carried over: a knock goes to a port that \[good\] \(line 3\) opens/,
    /^26: \[knocked\] not carried over: it opens a port that \[good\] \(line 2\) knocks on/,
    /^34: \[high\] not carried over: knock 2 is no port/,
    /^38: \[zero\] not carried over: knock 2 is no port/,
    /^42: \[trailing\] not carried over: knock 2 is no port/,
    /^46: \[sctp\] not carried over: knock 1 is no port/,
    /^50: \[many\] not carried over: a sequence has at most 32 knocks/,
  ]);
  t.equal(notes.length, 11);
  t.notMatch(notes.join('\n'), /5[1-5]\d{3}/, 'sequences are secrets');
});

t.test('settings without a counterpart here are reported, line by line', async t => {
  const { services, notes } = converted(`[options]
Interface = eth0:1
[once]
one_time_sequences = /etc/knockd/smtp
command = ${open(25)}
[wol]
sequence = 1000,2000,3000
target = 192.168.1.10
command = /usr/bin/etherwake 00:11:22:33:44:55
[flags]
sequence = 1001,2000,3000
tcpflags = fin,!ack
target = 192.0.2.1
command = ${open(26)}
seq_timeout = 0
cmd_timeout = 99999999
stop_command = /root/after.sh %IP%
[six]
sequence = 1002,2000,3000
command = ${open(27)}
command_6 = ip6tables -A INPUT -s %IP% -p tcp --dport 28 -j ACCEPT
stop_command = ${close(27)}
[none6]
sequence = 1003,2000,3000
command = ${open(29)}
command_6 =
stop_command = ${close(29)}
[only6]
sequence = 1004,2000,3000
command_6 = ${open(30)}
stop_command = ${close(30)}
[nothing]
sequence = 1005,2000,3000
[empty]
command = ${open(31)}
[everything]
sequence = 1006,2000,3000
command = /sbin/iptables -I INPUT -s %IP% -j ACCEPT
`);
  t.same(Object.keys(services as object), ['flags', 'six', 'none6', 'only6']);
  t.match(services, {
    flags: { knockTimeout: '1s', openFor: '365d' },
    six: { ports: [27] },
    only6: { ports: [30] },
  });
  t.match(notes, [
    /^2: Interface: knocks count on every interface/,
    /^4: \[once\] not carried over: One_Time_Sequences: .* write the service by hand/,
    /^9: \[wol\] not carried over: etherwake is not run here/,
    /^12: \[flags\] TCPFlags: a TCP knock is a SYN here/,
    /^13: \[flags\] Target: knocks to all addresses of this host count/,
    /^15: \[flags\] Seq_Timeout: knockd would never open this door; here it is 1s/,
    /^16: \[flags\] Cmd_Timeout: here it is 365d/,
    /^17: \[flags\] Stop_Command is not run/,
    /^21: \[six\] Start_Command_6 does not open the same as line 20/,
    /^26: \[none6\] Start_Command_6: clients that knock by IPv6 are let in here, too/,
    /^30: \[only6\] Start_Command_6: clients that knock by IPv4 are let in here, too/,
    /^32: \[nothing\] not carried over: it runs no command/,
    /^34: \[empty\] not carried over: there is no Sequence/,
    /^38: \[everything\] not carried over: iptables opens every port/,
  ]);
  t.equal(notes.length, 14);
});

t.test('names are those of doors, as far as they can be', async t => {
  const doors = [
    'openSSH',
    'open',
    'OPEN-CLOSE web',
    '42',
    'ssh',
    'SSH',
    '  ',
    'x'.repeat(200),
    '*/ "evil" \u001b[31m',
  ];
  const { services } = converted(
    doors
      .map(
        (name, index) =>
          `[${name}]\nsequence=${1000 + index},2000,3000\nstart_command=${open(100 + index)}\nstop_command=${close(1)}\n`,
      )
      .join(''),
  );
  t.same(Object.keys(services as object), [
    'ssh',
    'open',
    'web',
    'service',
    'ssh-2',
    'ssh-3',
    'service-2',
    'x'.repeat(32),
    'evil-31m',
  ]);
});

t.test('a door that closes itself in one command stays open as long', async t => {
  const { services } = converted(
    `[ssh]\nsequence=1,3,2\ncommand = ${open(22)} && sleep 45 && ${close(22)}\n`,
  );
  t.match(services, { ssh: { openFor: '45s' } });
});

t.test('a time-out that knockd never acts on is reported', async t => {
  const { services, notes } = converted(`[ssh]\nsequence=1,3,2\ncmd_timeout = 3600\ncommand = ${open(22)}\n`);
  t.match(services, { ssh: { openFor: '1h' } });
  t.match(notes, [
    /^3: \[ssh\] Cmd_Timeout without a Stop_Command: in knockd the door stays open; here it closes after 1h/,
  ]);
});

t.test('if knockd reads only half of a knock, the rest is reported, without its numbers', async t => {
  const { services, notes } = converted(
    `[ssh]\nsequence = 4101 4203 4305,4203/udp, 4777\ncommand = ${open(22)}\nstop_command = ${close(22)}\n[two]\nsequence = 4101:udp:x,7\ncommand = ${open(23)}\n`,
  );
  t.match(services, { ssh: { sequence: [4101, 4203, 4777] } });
  t.match(notes, [
    /^2: \[ssh\] knock 1 has more than a port, .* left out here, too/,
    /^2: \[ssh\] knock 2 has more than a port/,
    /^6: \[two\] not carried over: knock 1 is no port/,
  ]);
  t.notMatch(notes.join(), /4\d{3}/);
});

t.test('if one of two doors to a port is endless, the time of the other counts', async t => {
  const ending = `cmd_timeout = 3600\nstop_command = ${close(22)}`;
  const first = `[endless]\nsequence = 1,3,2\ncommand = ${open(22)}\n`;
  const second = `[hour]\nsequence = 4,3,2\ncommand = ${open(22)}\n${ending}\n`;
  for (const text of [`${first}${second}`, `${second}${first}`]) {
    const { services, notes } = converted(text);
    t.match(Object.values(services as object), [{ openFor: '1h' }]);
    t.match(
      notes.join('\n'),
      /\[endless\] stayed open until it was closed; here clients may connect for 1h \("openFor" of \[hour\], with which it shares its ports\)/,
    );
    t.equal(notes.length, 1);
  }
});

t.test('without doors there is no configuration', async t => {
  t.match(converted('[options]\nusesyslog\n'), {
    services: undefined,
    notes: [/^1: there is no door/, /^2: UseSyslog/],
  });
  t.match(converted(''), { services: undefined, notes: [/^1: there is no door/] });
});

const port = fc.oneof(fc.integer({ min: 0, max: 70_000 }), fc.integer({ min: 20, max: 30 }));
const settings = fc.array(
  fc.oneof(
    fc.array(port, { minLength: 1, maxLength: 5 }).map(ports => `sequence = ${ports.join(',')}`),
    fc
      .array(fc.tuple(port, fc.constantFrom('tcp', 'udp')), { minLength: 1, maxLength: 4 })
      .map(it => `sequence = ${it.map(knock => knock.join(':')).join(',')}`),
    fc
      .tuple(fc.constantFrom('command', 'start_command_6', 'stop_command'), port)
      .map(([key, it]) => `${key} = ${open(it)}`),
    fc
      .tuple(port, port)
      .map(([a, b]) => `command = iptables -I INPUT -s %IP% -p udp --dport ${a}:${b} -j ACCEPT`),
    fc
      .tuple(fc.constantFrom('seq_timeout', 'cmd_timeout'), fc.integer())
      .map(([key, it]) => `${key} = ${it}`),
    fc.constantFrom('tcpflags = fin', 'target = 10.0.0.1', 'one_time_sequences = /x', 'foo = bar'),
  ),
  { maxLength: 7 },
);

t.test('with any doors, the configuration is valid, and guards only ports that a door opens', async t => {
  const section = fc.tuple(fc.constantFrom('options', 'openSSH', 'closeSSH', 'web', 'ünï', '1'), settings);
  fc.assert(
    fc.property(fc.array(section, { maxLength: 8 }), sections => {
      const text = sections.map(([name, lines]) => [`[${name}]`, ...lines, ''].join('\n')).join('\n');
      const conf = parseKnockdConf(text);
      if ('problems' in conf) return false;
      const { text: made } = convert(conf, 'knockd.conf', names);
      if (made === undefined) return true;
      const { config } = parseConfig(made, 'made', {});
      const opened = (wanted: number) =>
        new RegExp(`--dport ${wanted} `).test(text) || /--dport \d+:\d+/.test(text);
      return config.services.every(({ ports }) =>
        ports.every(({ first, last }) => opened(first) && opened(last)),
      );
    }),
    { numRuns: 2000 },
  );
  t.pass();
});

t.test('a damaged file is refused, or becomes a valid configuration', async t => {
  fc.assert(
    fc.property(damaged, text => {
      const conf = parseKnockdConf(text);
      if ('problems' in conf) return conf.problems.length > 0;
      const { text: made, notes } = convert(conf, 'knockd.conf', names);
      if (made !== undefined) parseConfig(made, 'made', {});
      return made !== undefined || notes.length > 0;
    }),
    { numRuns: 3000 },
  );
  t.pass();
});

t.test('a file of thousands of doors takes no longer than one can wait', async t => {
  const door = (index: number) =>
    `[door${index}]\nsequence=${10_000 + (index % 50_000)},${1 + (index % 9000)},${30_000 - (index % 10_000)}\ncommand=${open(9001 + (index % 900))}\n`;
  const start = performance.now();
  converted(Array.from({ length: 3000 }, (_, index) => door(index)).join(''));
  t.ok(performance.now() - start < 60_000);
});
