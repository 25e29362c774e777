/** Damaged knockd.conf files. */
import fc from 'fast-check';

const good = `[options]
 UseSyslog
 Interface = eth0
[openSSH]
 sequence = 7000,8000:udp,9000
 seq_timeout = 5
 tcpflags = syn
 command = iptables -A INPUT -s %IP% -p tcp --dport 22 -j ACCEPT
[web]
 sequence=1,2,3,4
 start_command = ufw allow from %IP% to any port 80 proto tcp
 cmd_timeout=30
 stop_command=ufw delete allow from %IP% to any port 80 proto tcp
`;

const damage = fc.record({
  at: fc.nat({ max: good.length }),
  remove: fc.nat({ max: 30 }),
  insert: fc.oneof(
    fc.string({ unit: 'binary', maxLength: 4 }),
    fc.constantFrom('\n', '=', '[', ']', ',', '"', '${', '%IP%', '\0'),
  ),
});

export const damaged: fc.Arbitrary<string> = fc
  .array(damage, { minLength: 1, maxLength: 6 })
  .map(edits =>
    edits.reduce(
      (text, { at, remove, insert }) => text.slice(0, at) + insert + text.slice(at + remove),
      good,
    ),
  );
