/** A user who may name a program, a chain or an interface here cannot write to the terminal of root by any name. */
import { mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import t, { type Test } from 'tap';
import { lacking } from './process.ts';
import { createWorld, missing, type World } from './world.ts';

const skip = missing('namespaces', 'nft', 'knockd');
const program = resolve('dist/knockd-nft.cjs');
/** Sets the title of the terminal, rings, clears the line; turns the direction of the text. */
const EVIL = '\u001b]0;owned\u0007\u001b[2K';
const TURNED = '\u202eevil\u2066';
const C1 = '\u009b2J\u007f\u2028';

/** All that a terminal obeys, or that hides how a line reads, but ends of lines and tabs at their beginning. */
const HARMFUL = /(?![\n\t])[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]|(?<=[^\t\n]\t*)\t/u;

/** For the names of tests, which are read on a terminal, too. */
const plain = (text: string) => text.replace(/[^ -~]/gu, '?');

function harmless(t: Test, text: string, what: string): void {
  const [found] = HARMFUL.exec(text) ?? [];
  const at = found === undefined ? -1 : text.indexOf(found);
  t.equal(at, -1, plain(`${what}: ${JSON.stringify(text.slice(Math.max(at - 60, 0), at + 30))}`));
}

/** A host where everything that others can name has such a name. */
async function hostileWorld(t: Test): Promise<World> {
  const world = await createWorld(t);
  const listen = `process.title = ${JSON.stringify(EVIL.slice(0, 15))}; require('node:net').createServer().listen(8080, () => console.log('ready'))`;
  const user = ['--reuid=65534', '--regid=65534', '--clear-groups'];
  const listener = world.start('server', 'setpriv', [
    ...(process.getuid?.() === 0 ? user : []),
    process.execPath,
    '-e',
    listen,
  ]);
  await listener.line(/ready/);
  for (const [index, name] of ['\u001b[2J\u001b]0;x\u0007', '\u202evil', '\u009b2J'].entries()) {
    const pair = ['link', 'add', name, 'type', 'veth', 'peer', 'name', `peer${index}`];
    const { status, stderr } = await world.run('server', 'ip', pair);
    t.equal(status, 0, stderr);
  }
  await world.nft(`table inet evil {
    comment "${EVIL}"
    set names { type ipv4_addr; comment "${EVIL}"; elements = { 192.0.2.1 comment "${EVIL}" }; }
    chain input {
      comment "${TURNED}"
      type filter hook input priority 0; policy accept;
      tcp dport 22 ip saddr @names drop comment "${EVIL}"
      tcp dport 22 reject comment "${C1}"
    }
  }`);
  return world;
}

const config = {
  policy: 'drop',
  interfaces: ['eth0'],
  services: { ssh: { ports: [22], sequences: { alice: [10000, 2345, 3456], bob: [3456, 2345, 1234] } } },
};

t.test('no command writes what others named as more than text', { skip }, async t => {
  const world = await hostileWorld(t);
  world.write(config);
  const run = join(dirname(world.configFile), `run${EVIL.slice(0, 5)}`);
  const env = { RUNTIME_DIRECTORY: run, STATE_DIRECTORY: run };
  mkdirSync(run);
  t.teardown(() => rmSync(run, { recursive: true, force: true }));
  const evilFile = join(dirname(world.configFile), `a${EVIL.replace('/', '')}.json`);
  writeFileSync(
    evilFile,
    `{ "services": { "${TURNED}": { "po\u0007rts": [22], "sequence": [1, 2, "${C1}"] } }, }`,
    {
      mode: 0o600,
    },
  );
  const knockdConf = join(dirname(world.configFile), `knockd${TURNED}.conf`);
  writeFileSync(
    knockdConf,
    `[open${EVIL}]\nsequence = 7000,8000\nseq_timeout = 5\ncommand = /sbin/ufw ${EVIL} allow from %IP%\ntcpflags = syn\n[x]\n${C1}\n`,
  );
  const results = async (words: readonly string[], file: string | false = world.configFile) => {
    for (const json of [[], ['--json']]) {
      const { status, stdout, stderr } = await world.knockd([...words, ...json], { env, config: file });
      harmless(t, stdout, `${words.join(' ')} ${json}, stdout`);
      harmless(t, stderr, `${words.join(' ')} ${json}, stderr`);
      t.ok(status < 128 && `${stdout}${stderr}` !== '', plain(`${words.join(' ')}: ${status}`));
      t.notMatch(stderr, /^ +at /m, 'no stack');
    }
  };
  for (const words of [['check'], ['load'], ['render'], ['status'], ['status', '--check'], ['doctor']])
    await results(words);
  await world.nft(`add element inet knockd ssh_clients_ipv4 { 192.0.2.7 timeout 1h comment "${EVIL}" }`);
  await results(['grant', 'ssh', '192.0.2.8']);
  await results(['revoke', `${EVIL}`]);
  await results(['revoke', '--all']);
  await results(['try', knockdConf]);
  writeFileSync(join(run, 'hold'), JSON.stringify({ reason: EVIL + C1, until: null }));
  await results(['status']);
  await results(['status', '--check']);
  await results(['doctor']);
  for (const words of [['check'], ['load'], ['diff'], ['status'], ['doctor'], ['render']])
    await results(words, evilFile);
  await results(['import', knockdConf], false);
  await results(['init', '--yes', '--config', join(run, `${TURNED}.json`)], false);
  await results(['init', '--yes', '--config', evilFile], false);
  await results(['knock', `${EVIL}`, '1', '2'], false);
  await results(['proxy', `host${TURNED}`, '22'], false);
  await results(['proxy', `host`, `22${EVIL}`], false);
  await results(['grant', EVIL, C1], false);
  await results([`lo${EVIL}d`], false);
  await results(['load', `--${EVIL}`], false);
});

t.test('watch, and the journal of the supervisor, write it as text', { skip }, async t => {
  const world = await hostileWorld(t);
  world.write(config);
  await world.knockd(['load']);
  await world.nft(
    `add element inet knockd steps { 0x00000000 . tcp . 7777 comment "ssh ${TURNED} 1/2" : 0x00000007 }`,
  );
  const watching = world.startKnockd(['watch', '--interval', '100ms']);
  await watching.line(/not as the configuration says/);
  harmless(t, (await watching.stop()).stdout, 'watch');
  const run = join(dirname(world.configFile), 'supervised');
  mkdirSync(run);
  t.teardown(() => rmSync(run, { recursive: true, force: true }));
  writeFileSync(join(run, 'hold'), JSON.stringify({ reason: `${EVIL}${C1}`, until: null }));
  for (const KNOCKD_NFT_LOG_FORMAT of ['json', 'text']) {
    const running = world.startKnockd(['run'], {
      KNOCKD_NFT_LOG_FORMAT,
      RUNTIME_DIRECTORY: run,
      STATE_DIRECTORY: run,
    });
    await running.line(/held/);
    const { stdout, stderr } = await running.stop();
    harmless(t, `${stdout}${stderr}`, KNOCKD_NFT_LOG_FORMAT);
  }
});

t.test('the questions of init, on a terminal', { skip: skip || lacking('script') }, async t => {
  const world = await hostileWorld(t);
  const file = join(dirname(world.configFile), 'new.json');
  const command = `"${process.execPath}" "${program}" --config "${file}" init`;
  const { stdout } = await world.run('server', 'script', ['-qec', command, '/dev/null'], {
    input: '\n',
    env: { TERM: 'xterm' },
  });
  t.match(stdout, '8080/tcp', 'the listener is in the list');
  // colours, and how readline moves the cursor in the line that is typed
  const ownless = stdout.replace(new RegExp(`${'\u001b'}\\[(\\d*m|\\d*G|0?J|\\d*C)|\\r`, 'g'), '');
  harmless(t, ownless, 'init');
});
