/** The cost of the client's side: `proxy` beside nc, and a login through it beside one without. */
import { writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { loadedWorld } from '../test/kernel/loaded.ts';
import { lacking } from '../test/kernel/process.ts';
import { cannotSshd, startSshd } from '../test/kernel/sshd.ts';
import { createWorld, type World } from '../test/kernel/world.ts';
import { printTable, quantile, ratio } from './figures.ts';
import { measure } from './measure.ts';
import type { Command, Measured } from './runner.ts';
import { client } from './subjects.ts';

const ROUNDS = 7;
const MEBIBYTES = 1024;
const THROUGH_SSH = 256;
const nothing = ['true'];
const proxy = [process.execPath, client, 'proxy'];

type Teardown = Parameters<typeof createWorld>[0];

/** Waits for the listener; then the client has the address and the port as its last words. */
const peer = `until grep -q ' 0100007F:2328 00000000:0000 0A ' /proc/net/tcp; do sleep 0.01; done`;
const up = `nc -l -N 127.0.0.1 9000 </dev/null >/dev/null & ${peer}
head -c ${MEBIBYTES}M /dev/zero | "$@" 127.0.0.1 9000 >/dev/null; wait`;
/** nc ends with stdin and the connection: stdin stays until everything has come, which is counted, as nc does not tell. */
const down = `head -c ${MEBIBYTES}M /dev/zero | nc -l -N 127.0.0.1 9000 >/dev/null & ${peer}
"$@" 127.0.0.1 9000 <"$0" | { exec 3>"$0"; head -c ${MEBIBYTES}M >/dev/null; exec 3>&-; }; wait`;

export async function benchClient(t: Teardown): Promise<void> {
  const why = lacking('nc') || cannotSshd();
  if (why) return console.log(`The client's side cannot be measured: ${why}\n`);
  await benchStream(t);
  await benchLogin(t);
}

async function benchStream(t: Teardown): Promise<void> {
  const world = await createWorld(t);
  const fifo = join(dirname(world.configFile), 'fifo');
  await world.run('client', 'mkfifo', [fifo]);
  const through = (script: string, client: readonly string[]): Command => ({
    command: ['sh', '-c', script, fifo, ...client],
    cleanup: nothing,
  });
  const commands = [up, down].flatMap(script => [through(script, ['nc', '-N']), through(script, proxy)]);
  const measured = await measure(world, 'client', { commands, rounds: ROUNDS });
  console.log(`Proxy: ${MEBIBYTES} MiB over loopback to or from nc, from the start of the process to its end; MiB/s, most (median) of
${ROUNDS} interleaved rounds.\n`);
  printRates(measured, MEBIBYTES);
}

/** Of four commands: nc and ours, sending; the same, receiving. */
function printRates(measured: readonly Measured[], mebibytes: number): void {
  const speed = (milliseconds: number) => mebibytes / (milliseconds / 1000);
  const names = ['nc, sending', 'knockd-nft proxy, sending', 'nc, receiving', 'knockd-nft proxy, receiving'];
  printTable(
    ['', 'MiB/s', '(median)', 'to nc'],
    measured.map(({ times }, index) => {
      const rate = speed(Math.min(...times));
      const rival = index % 2 === 1 && measured[index - 1];
      return [
        names[index] ?? '',
        rate.toFixed(0),
        `(${speed(quantile(times, 0.5)).toFixed(0)})`,
        rival ? ratio(rate, speed(Math.min(...rival.times))) : '',
      ];
    }),
  );
  console.log('');
}

/** The same through ssh, which has to encrypt. The port is open. */
async function benchTransfer(world: World, config: string): Promise<void> {
  const from = `ssh -F "$0" "$1" head -c ${THROUGH_SSH}M /dev/zero >/dev/null`;
  const to = `head -c ${THROUGH_SSH}M /dev/zero | ssh -F "$0" "$1" "cat >/dev/null"`;
  const commands = [to, from].flatMap(script =>
    ['nc', 'through'].map(host => ({ command: ['sh', '-c', script, config, host], cleanup: nothing })),
  );
  const measured = await measure(world, 'client', { commands, rounds: ROUNDS });
  console.log(`The same of ${THROUGH_SSH} MiB through ssh, with one or the other as ProxyCommand.\n`);
  printRates(measured, THROUGH_SSH);
}

async function benchLogin(t: Teardown): Promise<void> {
  const sequence = [10000, 2345, 3456, 1234];
  const world = await loadedWorld(t, { services: { ssh: { ports: [22], sequence } } });
  const sshd = await startSshd(t, world);
  const command = [...proxy, '%h', '%p', ...sequence].join(' ');
  const config = sshd.sshConfig(
    `Host through\n  ProxyCommand ${command}\nHost nc\n  ProxyCommand nc -N %h %p\nHost *\n  HostName ${world.server.ipv4}`,
  );
  const script = join(sshd.folder, 'door.sh');
  // the runner is on the client, but it has the server's namespace at hand
  writeFileSync(
    script,
    `ip netns exec server nft "$1 element inet knockd ssh_clients_ipv4 { ${world.client.ipv4} $2 }"`,
  );
  const open = ['sh', script, 'add', 'timeout 1h'];
  const close = ['sh', '-c', `sh ${script} delete || true`];
  const reopen = ['sh', '-c', `sh ${script} delete; sh ${script} add 'timeout 1h'`];
  const tenTimes = 'for i in 1 2 3 4 5 6 7 8 9 10; do "$@" & done; wait';
  const login = (host: string, prepare: readonly string[], ...lead: readonly string[]): Command => ({
    prepare,
    command: [...lead, 'ssh', '-F', config, host, 'true'],
    cleanup: nothing,
  });
  const opened = await world.run('client', 'sh', open.slice(1));
  if (opened.status !== 0) throw new Error(`nft: ${opened.stderr}`);
  const atOnce = ['sh', '-c', tenTimes, 'sh'];
  const commands = [
    login('direct', reopen),
    login('direct', reopen, ...atOnce),
    login('through', reopen),
    login('through', close),
    login('through', close, ...atOnce),
  ];
  await benchTransfer(world, config);
  const measured = await measure(world, 'client', { commands, rounds: ROUNDS });
  console.log(
    `Login: \`ssh HOST true\`, milliseconds, least (median) of ${ROUNDS} interleaved rounds, and how much more it takes than ssh of the
same round (median); 4 knocks, 200 ms between two.\n`,
  );
  const names = [
    'ssh, door open',
    'ten at once: ssh, door open',
    'ssh through proxy, door open',
    'ssh through proxy, door closed',
    'ten at once: ssh through proxy, door closed',
  ];
  printTable(
    ['', 'ms', '(median)', 'more than ssh'],
    measured.map(({ times }, index) => {
      const alone = measured[index === 4 ? 1 : 0]?.times ?? [];
      const more = times.map((time, round) => time - (alone[round] ?? Number.NaN));
      return [
        names[index] ?? '',
        Math.min(...times).toFixed(0),
        `(${quantile(times, 0.5).toFixed(0)})`,
        index === 1 ? '' : quantile(more, 0.5).toFixed(0),
      ];
    }),
  );
  console.log('');
}
