/** docs/living-with, beside the firewalls that Debian has, and with ssh alone: what is typed shows what stands there. */
import { readdirSync, readFileSync } from 'node:fs';
import t from 'tap';
import { FOLDER, skip, typePages } from './pages.ts';

const FAIL2BAN = `touch /var/log/auth.log
printf '[sshd]\\nenabled = true\\nbackend = polling\\nlogpath = /var/log/auth.log\\nbanaction = nftables-multiport\\n' \\
  >/etc/fail2ban/jail.local
systemctl start fail2ban
until fail2ban-client status sshd; do sleep 0.1; done`;

const UNMASK =
  'rm -f /etc/systemd/system/nftables.service; systemctl daemon-reload; systemctl enable nftables';

t.test('each line that is typed beside firewalls and by ssh shows what the page says', { skip }, t =>
  typePages(t, {
    ufw: {
      programs: ['ufw'],
      shut: true,
      after: 'ufw --force disable; nft delete table ip filter; nft delete table ip6 filter',
    },
    firewalld: { programs: ['firewalld', 'firewall-cmd'], shut: true, after: 'systemctl stop firewalld' },
    'nftables-conf': { before: UNMASK },
    'saved-rulesets': { after: 'systemctl disable --now nftables; nft delete table inet filter' },
    fail2ban: {
      programs: ['fail2ban-server', 'fail2ban-client'],
      shut: true,
      before: FAIL2BAN,
      after: 'systemctl stop fail2ban',
    },
    'many-connections': { shut: true },
    'cloud-firewalls': {},
    backups: { programs: ['rsync'], shut: true },
  }),
);

t.test('every page is typed', async t => {
  const typed = ['test', 'long']
    .map(kind => readFileSync(`test/system/living-with.${kind}.ts`, 'utf8'))
    .join('');
  for (const page of readdirSync(FOLDER).filter(name => name !== 'README.md'))
    t.match(typed, new RegExp(`^ +'?${page.replace('.md', '')}'?: \\{`, 'm'), page);
});
