/** The ports that commands of firewalls open, as far as we can know them. */

import fc from 'fast-check';
import t from 'tap';
import { parseWellKnown } from '../../src/host/well-known.ts';
import { readCommandLine } from '../../src/import/command.ts';
import { formatPortRange } from '../../src/inet/port.ts';

const names = parseWellKnown(
  'ssh 22/tcp\nhttp 80/tcp www\nhttps 443/tcp\ndomain 53/tcp\ndomain 53/udp\n',
).portOf;

/** `22/tcp`, `close`, `?` and why, `-` for nothing at all. */
function understood(line: string): string {
  const { opening, closes, notes } = readCommandLine(line, names);
  if (opening) return opening.ports.map(formatPortRange).join(' ');
  return closes ? 'close' : notes.length > 0 ? `? ${notes.join('; ')}` : '-';
}

for (const [firewall, cases] of Object.entries({
  iptables: [
    ['/sbin/iptables -A INPUT -s %IP% -p tcp --dport 22 -j ACCEPT', '22/tcp'],
    ['/sbin/iptables -A INPUT -s %IP% --dport 22 -j ACCEPT', '22/tcp'],
    ['/usr/sbin/iptables -I INPUT 1 -s %IP% -p tcp --dport 22 -j ACCEPT', '22/tcp'],
    [
      'iptables -w -t filter -I INPUT -p tcp -s %IP%/32 --dport ssh -m conntrack --ctstate NEW -j ACCEPT',
      '22/tcp',
    ],
    ['iptables -A INPUT -p udp -s %IP% --dport 1194 -j ACCEPT', '1194/udp'],
    ['iptables -A INPUT -ptcp -s%IP% --destination-port=22 -jACCEPT', '22/tcp'],
    [
      'iptables -A INPUT -s %IP% -p tcp -m multiport --dports 22,80,6000:6010 -j ACCEPT',
      '22/tcp 80/tcp 6000-6010/tcp',
    ],
    ['ip6tables -A INPUT -s %IP% -p 6 --dport 1024: -j ACCEPT', '1024-65535/tcp'],
    [
      'iptables -A INPUT -s %IP% -p tcp -m comment --comment "for bob -j DROP" --dport 22 -j ACCEPT',
      '22/tcp',
    ],
    ['iptables -D INPUT -p tcp --dport 22 -j DROP', '22/tcp'],
    ['iptables -D INPUT -s %IP% -p tcp --dport 22 -j ACCEPT', 'close'],
    ['iptables -I INPUT 5 -p tcp --dport 22 -j DROP', 'close'],
    ['iptables -D INPUT 3', 'close'],
    ['iptables -C INPUT -s %IP% -p tcp --dport 22 -j ACCEPT', '-'],
    ['iptables -A INPUT -s %IP% -j ACCEPT', /^\? iptables opens every port/],
    ['iptables -A INPUT -s %IP% -p tcp --syn -j ACCEPT', /^\? iptables opens every port/],
    [
      'iptables -A INPUT -s 10.0.0.1 -p tcp --dport 22 -j ACCEPT',
      /^\? iptables lets 10\.0\.0\.1 in, .*"allow"/,
    ],
    ['iptables -A INPUT ! -s %IP% -p tcp --dport 22 -j ACCEPT', /^\? iptables has a condition with "!"/],
    ['iptables -A INPUT -s %IP% -p icmp -j ACCEPT', /^\? iptables opens every port/],
    ['iptables -A INPUT -s %IP% -p sctp --dport 22 -j ACCEPT', /something other than TCP or UDP \(sctp\)/],
    ['iptables -A INPUT -s %IP% -p tcp --dport nosuch -j ACCEPT', /ports that cannot be read \(nosuch\)/],
    ['iptables -A INPUT -s %IP% -p tcp --dport 70000 -j ACCEPT', /cannot be read \(70000\)/],
    ['iptables -A INPUT -s %IP% -p tcp --dport 30:20 -j ACCEPT', /cannot be read/],
    ['iptables -A INPUT -s %IP% -p tcp --dport 22 -j KNOCKED', /has the target KNOCKED/],
    ['iptables -A FORWARD -s %IP% -p tcp --dport 22 -j ACCEPT', /way to other hosts/],
    [
      'iptables -t nat -A PREROUTING -s %IP% -p tcp --dport 22 -j DNAT --to 10.0.0.2',
      /changes the table nat/,
    ],
    ['iptables -N KNOCKD', /neither adds nor deletes/],
    [
      'iptables -I DOCKER-USER -s %IP% -p tcp --dport 22 -j ACCEPT',
      /way to other hosts \(chain DOCKER-USER\)/,
    ],
    ['iptables -I OUTPUT -d %IP% -p tcp --dport 22 -j ACCEPT', /is for outgoing packets \(chain OUTPUT\)/],
    ['iptables -A KNOCKED -s %IP% -p tcp --dport 22 -j ACCEPT', /changes the chain KNOCKED/],
    ['iptables -A ufw-user-input -s %IP% -p tcp --dport 22 -j ACCEPT', '22/tcp'],
    ['iptables -A INPUT -s %IP% -p tcp --dport 22 --dport 80 -j ACCEPT', /has --dport twice/],
    ['iptables -A INPUT -s %IP% -s 10.0.0.1 -p tcp --dport 22 -j ACCEPT', /has -s twice/],
    ['iptables -I INPUT 1 2 -s %IP% -p tcp --dport 22 -j ACCEPT', /has "2"/],
  ],
  nft: [
    ['nft add rule inet filter input ip saddr %IP% tcp dport 22 accept', '22/tcp'],
    [
      "/usr/sbin/nft 'insert rule inet filter input ip saddr %IP% tcp dport { ssh, 80 } ct state new counter accept'",
      '22/tcp 80/tcp',
    ],
    [
      'nft insert rule ip filter INPUT position 3 ip saddr %IP% udp dport 6000-6010 accept comment \\"drop\\"',
      '6000-6010/udp',
    ],
    [
      'nft add rule inet filter input ip6 saddr %IP% meta l4proto { tcp, udp } th dport domain accept',
      '53/tcp 53/udp',
    ],
    ['nft add rule inet filter input ip saddr %IP% accept', /opens every port/],
    ['nft add element inet filter clients { %IP% timeout 30s }', /^\? nft adds to a set/],
    ['nft add rule inet nat pre ip saddr %IP% tcp dport 22 dnat to 10.0.0.2', /redirects/],
    ['nft delete element inet filter clients { %IP% }', 'close'],
    ['nft delete rule inet filter input handle 5', 'close'],
    ['nft add rule inet filter input ip saddr %IP% tcp dport 22 drop', 'close'],
    ['nft -f /etc/open.nft', /not a rule that lets clients in/],
    [
      'nft add rule inet filter forward ip saddr %IP% tcp dport 22 accept',
      /way to other hosts \(chain forward\)/,
    ],
    ['nft add rule filter output ip saddr %IP% tcp dport 22 accept', /for outgoing packets \(chain output\)/],
    ['nft add rule inet filter knocked ip saddr %IP% tcp dport 22 accept', /changes the chain knocked/],
    ['nft add rule filter input ip saddr %IP% tcp dport 22 accept', '22/tcp'],
    ['nft add rule ip filter input ip saddr %IP% meta l4proto udp th dport 53 accept', '53/udp'],
    [
      "nft 'add rule inet f input ip saddr %IP% tcp dport 22 accept; add rule inet f input tcp dport 80 accept'",
      '22/tcp 80/tcp',
    ],
    ['nft add rule inet f input ip saddr != %IP% tcp dport 22 accept', /"!="/],
    ['nft -c add rule inet f input ip saddr %IP% tcp dport 22 accept', '-'],
  ],
  ufw: [
    ['ufw allow from %IP% to any port 22', '22/tcp 22/udp'],
    ['/usr/sbin/ufw allow from %IP% to any port 22 proto tcp', '22/tcp'],
    ['ufw insert 1 allow proto tcp from %IP% to any port 22,443 comment "knock knock"', '22/tcp 443/tcp'],
    ['ufw --force prepend limit from %IP% to any app OpenSSH', '22/tcp'],
    ['ufw allow in on eth0 from %IP% to any port ssh proto tcp', '22/tcp'],
    ['ufw allow 22/tcp', '22/tcp'],
    ['ufw allow 6000:6010/udp', '6000-6010/udp'],
    ['ufw allow ssh', '22/tcp'],
    ['ufw allow OpenSSH', '22/tcp'],
    ['ufw allow from %IP%', /opens every port/],
    ['ufw allow from %IP% to any app "Nginx Full"', /cannot be read \(Nginx Full\)/],
    ['ufw delete allow from %IP% to any port 22', 'close'],
    ['ufw delete 3', 'close'],
    ['ufw deny from %IP% to any port 22', 'close'],
    ['ufw delete deny 22/tcp', '22/tcp'],
    ['ufw route allow from %IP% to 10.0.0.2 port 22', /other hosts/],
    ['ufw allow out 22/tcp', /for outgoing packets/],
    ['ufw reload', /not a rule/],
    ['ufw --dry-run allow 22/tcp', '-'],
    ['ufw allow from %IP% to any port 22 comment why proto tcp', '22/tcp'],
  ],
  'firewall-cmd': [
    [
      `firewall-cmd --add-rich-rule='rule family="ipv4" source address="%IP%" port port="22" protocol="tcp" accept'`,
      '22/tcp',
    ],
    [
      `firewall-cmd --zone=public --add-rich-rule 'rule family="ipv4" source address=%IP% service name=ssh accept'`,
      '22/tcp',
    ],
    ['firewall-cmd --add-port=6000-6010/udp', '6000-6010/udp'],
    ['firewall-cmd --add-service=https --timeout=60', '443/tcp'],
    [
      `firewall-cmd --remove-rich-rule='rule family="ipv4" source address="%IP%" port port="22" protocol="tcp" accept'`,
      'close',
    ],
    ['firewall-cmd --zone=trusted --add-source=%IP%', /gives %IP% a zone/],
    ['firewall-cmd --reload', '-'],
    ['firewall-cmd --add-port=2222/tcp --add-port=8443/tcp', '2222/tcp 8443/tcp'],
    ['firewall-cmd --add-service ssh --add-service=https --add-port 53/udp', '22/tcp 443/tcp 53/udp'],
    [
      `firewall-cmd --add-rich-rule='rule source address=%IP% port protocol="tcp" port="2222" accept' --add-rich-rule='rule port port=81 protocol=tcp source address="%IP%" family=ipv4 log prefix="in" accept'`,
      '2222/tcp 81/tcp',
    ],
    ['firewall-cmd --direct --add-rule ipv4 filter INPUT 0 -s %IP% -p tcp --dport 22 -j ACCEPT', '22/tcp'],
    [
      'firewall-cmd --direct --add-rule ipv4 filter FORWARD 0 -s %IP% -p tcp --dport 22 -j ACCEPT',
      /other hosts/,
    ],
    ['firewall-cmd --add-masquerade', /has --add-masquerade/],
  ],
  'the script of knockd': [
    ['/usr/local/sbin/knock_add -i -c INPUT -p tcp -d 443 -f %IP%', '443/tcp'],
    ['/usr/sbin/knock_helper_ipt.sh -a -f %IP% -d 53 -p udp -mcomment', '53/udp'],
    ['knock_helper_ipt.sh -x -f %IP% -d 22', 'close'],
    ['knock_add -f %IP%', /neither adds/],
    ['knock_add -i -c FORWARD -p tcp -d 443 -f %IP%', /way to other hosts/],
    ['knock_add -i -p tcp -d 443 -f %IP% -q 7 eight', /has "-q 7 eight"/],
  ],
  'a shell': [
    ['sudo -n /sbin/iptables -A INPUT -s %IP% -p tcp --dport 22 -j ACCEPT >/dev/null 2>&1', '22/tcp'],
    ['sudo -u root FOO=1 iptables -A INPUT -s %IP% -p tcp --dport 22 -j ACCEPT # why', '22/tcp'],
    [
      'iptables -C INPUT -s %IP% -p tcp --dport 22 -j ACCEPT || iptables -A INPUT -s %IP% -p tcp --dport 22 -j ACCEPT',
      '22/tcp',
    ],
    [
      'if ! iptables -C INPUT -s %IP% -j ACCEPT; then iptables -A INPUT -s %IP% -p tcp --dport 22 -j ACCEPT; fi',
      '22/tcp',
    ],
    [
      'iptables -A INPUT -s %IP% -p tcp --dport 22 -j ACCEPT; ip6tables -A INPUT -s %IP% -p tcp --dport 80 -j ACCEPT',
      '22/tcp 80/tcp',
    ],
    [
      `/bin/sh -c 'iptables -A INPUT -s %IP% -p tcp --dport 22 -j ACCEPT && echo "%IP% in" | logger'`,
      '22/tcp',
    ],
    ['timeout 5 ufw allow from %IP% to any port 22 proto tcp', '22/tcp'],
    ['echo open', '-'],
    ['/root/open.sh %IP%', /^\? open\.sh is not run here/],
    ['$IPT -A INPUT -s %IP% -p tcp --dport 22 -j ACCEPT', /^\? \$IPT is not run here/],
    ['ssh router iptables -A INPUT -s %IP% -p tcp --dport 22 -j ACCEPT', /^\? ssh is not run here/],
    ['echo ${', /^\? the command cannot be read/],
    ['', '-'],
  ],
} satisfies Record<string, readonly (readonly [string, string | RegExp])[]>))
  t.test(firewall, async t => {
    for (const [line, wanted] of cases)
      t.match(understood(line), typeof wanted === 'string' ? new RegExp(`^${wanted}$`) : wanted, line);
  });

t.test('parts that are not carried over are reported', async t => {
  const notes = (line: string) => readCommandLine(line, names).opening?.notes;
  t.match(notes('iptables -A INPUT -i eth0 -d 192.0.2.1 -s %IP% -p tcp --dport 22 -j ACCEPT'), [
    'the rule is only for -i eth0, which is left out',
    'the rule is only for -d 192.0.2.1, which is left out',
  ]);
  t.match(notes('iptables -A INPUT -p tcp --dport 22 -j ACCEPT'), [
    /lets every client in; here only the one that knocked/,
  ]);
  t.match(notes('ufw allow from %IP%/24 to 192.0.2.1 port 22'), [/only for to 192\.0\.2\.1/, /"prefix"/]);
  t.same(notes('nft add rule inet filter input iifname eth0 ip saddr %IP% tcp dport 22 accept'), [
    'the rule is only for iifname eth0, which is left out',
  ]);
  t.match(
    readCommandLine('iptables -A INPUT -s %IP% -p tcp --dport 22 -j ACCEPT; mail -s hi root', names).notes,
    [/^mail is not run here/],
  );
});

t.test('every word of a command is understood, or told as left out', async t => {
  /** Other words that a rule may have, each with a word that is nowhere else. */
  const more = {
    iptables: [
      '-i @',
      '-d @',
      '--sport @',
      '-m @',
      '-m recent --name @ --set',
      '--limit @',
      '--@',
      '--@ 1',
      '-@',
      '@',
      '--ctstate @',
      '-o @',
    ],
    nft: [
      'iifname @',
      'ip daddr @',
      'tcp flags @',
      'limit rate @',
      '@',
      'log prefix @',
      'ct state @',
      'meta mark @',
      'tcp sport { 1, @ }',
    ],
    ufw: ['@', 'on @', 'log @', 'port @'],
    'firewall-cmd': [
      '--zone=@',
      '--zone @',
      '--@',
      '--policy=@',
      '@',
      '--add-@',
      '--add-service=@',
      '--timeout=@',
    ],
    rich: ['destination address=@', 'limit value=@', '@', 'service name=@', 'source-port port=@', 'NOT @'],
    knock_add: ['@', '-Z@', '--@', '-t @'],
  } as const;
  const base = {
    iptables: ['iptables', '-A INPUT', '-s %IP%', '-p tcp', '--dport 22', '-w', '-j ACCEPT'],
    nft: ['nft add rule inet f input', 'ip saddr %IP%', 'tcp dport 22', 'counter', 'accept'],
    ufw: ['ufw allow', 'from %IP%', 'to any port 22', 'proto tcp'],
    'firewall-cmd': ['firewall-cmd', '--permanent', '--add-port=22/tcp', '--add-service=ssh', '--quiet'],
    rich: [
      "firewall-cmd --add-rich-rule='rule family=ipv4",
      'source address=%IP%',
      'port port=22 protocol=tcp',
      "accept'",
    ],
    knock_add: ['knock_add', '-i', '-p tcp', '-d 22', '-f %IP%', '-v'],
  } as const;
  let carried = 0;
  for (const name of Object.keys(base) as (keyof typeof base)[])
    for (const extra of more[name])
      for (let where = 1; where < base[name].length + Number(name !== 'rich' && name !== 'nft'); where++) {
        const pieces: string[] = [...base[name]];
        pieces.splice(where, 0, extra.replace('@', 'strange9'));
        const line = pieces.join(' ');
        const { opening, closes, notes } = readCommandLine(line, names);
        if (opening) carried++;
        if (opening) t.match([...opening.notes, ...notes].join(), 'strange9', line);
        else t.ok(!closes && notes.length > 0, line);
      }
  t.ok(carried > 50, `${carried} commands opened something`);
});

t.test('how long it opens, if the command says so', async t => {
  const time = (line: string) => readCommandLine(line, names).opening?.time;
  t.equal(time('ufw allow 22/tcp; sleep 30; ufw delete allow 22/tcp'), 30_000);
  t.equal(time('ufw allow 22/tcp; sleep 2m; ufw delete allow 22/tcp'), 120_000);
  t.equal(time('ufw delete allow 22/tcp; ufw allow 22/tcp'), undefined);
  t.equal(time('firewall-cmd --add-service=https --timeout=5m'), 300_000);
});

t.test('no command line makes it fall', async t => {
  const piece = fc.constantFrom(
    ...'iptables nft ufw firewall-cmd knock_add sudo sh -c sleep -A -D INPUT -s %IP% -p tcp --dport 22 -j ACCEPT ! allow from to any port'.split(
      ' ',
    ),
    ...[
      'delete',
      'add rule inet t c',
      'tcp dport {',
      '}',
      '"',
      "'",
      '$',
      '${',
      '`',
      '\\',
      ';',
      '|',
      '&&',
      '>',
      '2>&1',
      '(',
      '#',
      '*',
      '--',
      '-',
      '=',
      '%',
    ],
  );
  const line = fc.oneof(
    fc.array(piece, { maxLength: 25 }).map(it => it.join(' ')),
    fc.string({ unit: 'binary', maxLength: 100 }),
  );
  fc.assert(
    fc.property(line, text => {
      const { opening } = readCommandLine(text, names);
      return (opening?.ports ?? []).every(({ first, last }) => first >= 1 && first <= last && last <= 65_535);
    }),
    { numRuns: 3000 },
  );
  t.pass();
});
