/** The names of a host's listeners, and which of them are offered. */

import t from 'tap';
import { parseWellKnown } from '../../src/host/well-known.ts';
import { formatPortRange } from '../../src/inet/port.ts';
import type { Protocol } from '../../src/inet/protocol.ts';
import { readChoices } from '../../src/init/choice.ts';
import { findServices, isForwarded } from '../../src/init/found.ts';
import type { Host } from '../../src/init/host.ts';

const ANY = '0.0.0.0';

/** `22/tcp sshd 0.0.0.0`: a listener, its program (`-` for unknown) and its address. */
function host(lines: readonly string[], login?: number): Host {
  const programs = new Map<number, string>();
  const listeners = lines.map((line, index) => {
    const [written = '', program = '-', address = ANY] = line.split(' ');
    const [port, protocol] = written.split('/');
    const inode = program === 'kernel' ? 0 : index + 1;
    if (inode !== 0 && program !== '-') programs.set(inode, program);
    return {
      protocol: protocol as Protocol,
      port: Number(port),
      address: Buffer.from(address.split('.').map(Number)),
      loopback: address.startsWith('127.'),
      inode,
    };
  });
  const from = Buffer.from([192, 0, 2, 7]);
  return {
    listeners,
    programs,
    wellKnown: parseWellKnown('ssh 22/tcp # login\nhttp\t80/tcp www\ndomain 53/udp\n').nameOf,
    ephemeral: { first: 32_768, last: 60_999 },
    login: login === undefined ? undefined : { from, to: from, port: login },
  };
}

function found(lines: readonly string[], login?: number): string[] {
  return findServices(host(lines, login)).map(({ name, ports, addresses }) =>
    [name, ...ports.map(formatPortRange), ...addresses].join(' '),
  );
}

t.test(
  'a program is one service, ssh comes first, and services that only this host reaches are left out',
  async t => {
    t.same(
      found([
        '80/tcp nginx',
        '443/tcp nginx',
        '3306/tcp mariadbd 127.0.0.1',
        '22/tcp sshd',
        '25/tcp exim4 192.0.2.1',
      ]),
      ['ssh 22/tcp', 'exim4 25/tcp 192.0.2.1', 'nginx 80/tcp 443/tcp'],
    );
  },
);

t.test('names come from programs, from well-known ports, or from numbers', async t => {
  t.same(found(['22/tcp -', '80/tcp -', '9999/tcp -']), ['ssh 22/tcp', 'http 80/tcp', 'tcp-9999 9999/tcp']);
  t.same(
    found(['22/tcp systemd', '81/tcp systemd']),
    ['ssh 22/tcp', 'tcp-81 81/tcp'],
    'systemd listens for others',
  );
  t.same(found(['2222/tcp -'], 2222), ['ssh 2222/tcp'], 'where the caller came in');
  t.same(found(['2222/tcp dropbear', '22/tcp sshd']), ['ssh 22/tcp 2222/tcp']);
  t.same(found(['8000/tcp (weird:Näme)', '8001/tcp 42', '8002/tcp 日本']), [
    'weird-n-me 8000/tcp',
    'tcp-8001 8001/tcp',
    'tcp-8002 8002/tcp',
  ]);
});

t.test("UDP sockets of clients are no services, the kernel's own are", async t => {
  t.same(found(['40000/udp resolver', '53/udp named', '51820/udp kernel']), [
    'named 53/udp',
    'udp-51820 51820/udp',
  ]);
});

t.test('ports of containers are seen as such', async t => {
  const [docker, , ssh] = findServices(
    host(['8080/tcp docker-proxy', '443/tcp docker-proxy', '22/tcp sshd']),
  ).toReversed();
  t.match(docker, { name: 'tcp-8080', ports: [{ first: 8080 }] });
  t.ok(docker && isForwarded(docker));
  t.notOk(ssh && isForwarded(ssh));
});

const list = findServices(host(['22/tcp sshd', '80/tcp nginx', '443/tcp nginx']));

t.test('services are chosen by name, by number, or written out', async t => {
  const chosen = (...words: string[]) => {
    const choices = readChoices(words, list);
    return choices.ok
      ? choices.value.map(({ name, ports }) => `${name}=${ports.map(formatPortRange).join(',')}`)
      : `${choices.wrong}; ${choices.expected}`;
  };
  t.same(chosen('ssh', '2'), ['ssh=22/tcp', 'nginx=80/tcp,443/tcp']);
  t.same(chosen('web=80,6000-6010,53/udp'), ['web=80/tcp,6000-6010/tcp,53/udp']);
  t.match(chosen('3'), '"3" is not in the list');
  t.match(chosen('Web=80'), '"Web" is no service name; a lower-case letter');
  t.match(chosen('web='), '"" is no port; NAME=PORTS');
  t.match(chosen('web=80,0'), '"0" is no port');
  t.match(chosen('web=80,70000/udp'), '"70000/udp" is no port');
  t.match(chosen('ssh', 'ssh=2222'), 'ssh appears twice');
  t.match(chosen('nginx', 'web=400-500'), '400-500/tcp appears twice');
  t.match(chosen('web=80,80/tcp'), '80/tcp appears twice');
  t.same(chosen('a=53/udp', 'b=53/tcp'), ['a=53/udp', 'b=53/tcp']);
});
