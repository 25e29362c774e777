/** The importer: whatever a knockd.conf says, what comes of it is a valid configuration, or it says why nothing does. */
import { parseConfig } from '../../../src/config/parse.ts';
import { parseWellKnown } from '../../../src/host/well-known.ts';
import { convert } from '../../../src/import/convert.ts';
import { parseKnockdConf } from '../../../src/import/knockd-conf.ts';

const { portOf } = parseWellKnown('ssh 22/tcp\nhttp 80/tcp www\n');

const door = (open: string, close: string) =>
  `[door]\n sequence = 7000,8000:udp,9000\n seq_timeout = 5\n tcpflags = syn\n start_command = ${open}\n cmd_timeout = 10\n stop_command = ${close}\n`;
export const seeds = [
  '[options]\n UseSyslog\n Interface = eth0\n[openSSH]\n sequence = 7000,8000,9000\n command = /sbin/iptables -A INPUT -s %IP% -p tcp --dport 22 -j ACCEPT\n',
  door(
    'ufw allow from %IP% to any port ssh proto tcp',
    'ufw delete allow from %IP% to any port ssh proto tcp',
  ),
  door(
    'nft add rule inet filter input ip saddr %IP% tcp dport { 22, 80-90 } accept',
    'nft delete rule inet filter input handle 5',
  ),
  door(
    'firewall-cmd --zone=public --add-rich-rule=\'rule family="ipv4" source address="%IP%" port port="22" protocol="tcp" accept\' --timeout=30',
    '/usr/sbin/iptables -D INPUT -s %IP% -p tcp -m multiport --dports 22,80 -j ACCEPT; ip6tables -D INPUT 1',
  ),
  '[once]\n one_time_sequences = /etc/knockd/once\n start_command = sh -c "echo %IP%"\n[other]\n sequence = 1\n start_command_6 = ip6tables -I INPUT 1 -s %IP% -j ACCEPT\n',
];

export function fuzz(data: Buffer): void {
  const conf = parseKnockdConf(data.toString());
  if ('problems' in conf) {
    if (conf.problems.length === 0) throw new Error('refused without a reason');
    return;
  }
  const { text, configuration, notes } = convert(conf, 'knockd.conf', portOf);
  if (text !== undefined) {
    parseConfig(text, 'FILE', {});
    parseConfig(JSON.stringify(configuration), 'FILE', {});
  } else if (notes.length === 0) throw new Error('nothing was carried over, and nobody says why');
}
