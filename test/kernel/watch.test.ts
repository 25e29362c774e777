/** `watch` as it is seen: lines in a pipe, and a live view in a real terminal, which is left as it was found. */
import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import t, { type Test } from 'tap';
import { missingTmux, openTerminal, type Terminal, type TerminalOptions } from '../cli/tmux.ts';
import { load, loadedWorld, ssh, sshKnocks, until } from './loaded.ts';
import { missing, type World } from './world.ts';

const skip = missing('namespaces', 'nft', 'knockd');
const inTerminal = { skip: missing('namespaces', 'nft', 'knockd') || missingTmux() };
const program = resolve('dist/knockd-nft.cjs');
const config = { services: { ssh, web: { ports: [80, 443], sequence: [7001, 9001, 8001] } } };

t.test('in a pipe, each thing that happens is a line', { skip }, async t => {
  const world = await loadedWorld(t, config);
  const { ipv4 } = world.server;
  const client = world.host('client');
  await world.host('server').listen(22);
  const watch = world.startKnockd(['watch', '--interval', '200ms']);
  await watch.line(/^\d\d:\d\d:\d\d table inet knockd: as the configuration says$/);
  await client.knock(ipv4, sshKnocks.slice(0, 2));
  await watch.line(/^\d\d:\d\d:\d\d 10\.77\.0\.2 is knocking ssh 2\/4$/);
  await client.knock(ipv4, sshKnocks.slice(2));
  await watch.line(/ ssh: 10\.77\.0\.2 is in for [45]m/);
  t.equal(await client.connect(ipv4, 22), 'open');
  await watch.line(/ ssh accepted 1$/);
  t.equal(await client.connect(ipv4, 443), 'silent');
  await watch.line(/ web refused \d+$/);
  await world.nft('delete element inet knockd ssh_clients_ipv4 { 10.77.0.2 }');
  await watch.line(/ ssh: 10\.77\.0\.2 is out$/);
  await world.nft('add element inet knockd web_clients_ipv6 { 2001:db8::7 }');
  await watch.line(/ web: 2001:db8::7 is in for good$/);
  await world.nft('flush ruleset');
  await watch.line(/ not loaded: nothing is guarded$/);
  await load(world, { ...config, strict: false });
  await watch.line(/ table inet knockd: as the configuration says$/);
  world.write(config);
  await watch.line(/ not as the configuration says: "knockd-nft load" puts it right$/);
  world.write('{');
  await watch.line(/knockd-nft\.json:1:2: /);
  await watch.line(/ table inet knockd: the configuration cannot be used$/);
  t.match(await watch.stop('SIGINT'), { status: 130 }, 'and Ctrl-C is what ends any program');
});

t.test('--json: the status, and then an object a line', { skip }, async t => {
  const world = await loadedWorld(t, config);
  const watch = world.startKnockd(['watch', '--json', '--interval', '0.5']);
  const [first = ''] = [await watch.line(/./)];
  t.match(JSON.parse(first), {
    event: 'status',
    time: Number,
    loaded: true,
    inSync: true,
    services: { ssh: {} },
  });
  await world.host('client').knock(world.server.ipv6, sshKnocks);
  const { time, expires, ...event } = JSON.parse(await watch.line(/"event":"in"/));
  t.same(event, { event: 'in', service: 'ssh', address: 'fd77::2', user: null });
  t.ok(Math.abs(time - Date.now()) < 60_000 && expires > 290 && expires <= 300, `${time} ${expires}`);
});

t.test('nobody who may write to the kernel writes to the terminal', { skip }, async t => {
  const world = await loadedWorld(t, config);
  const evil = '\x1b]0;mine\x07';
  const listed = (await world.run('server', 'nft', ['list', 'map', 'inet', 'knockd', 'steps'])).stdout;
  const [, place = ''] = listed.match(/comment "ssh 4\/4" : (0x\w+)/) ?? [];
  await world.nft(`delete element inet knockd arrivals { ${place} }
add element inet knockd arrivals { ${place} comment "${evil}" : goto open_ssh }
add element inet knockd ssh_clients_ipv4 { 10.77.0.9 }
add element inet knockd progress_ipv4 { 10.77.0.8 timeout 1m : ${place} }`);
  const watch = world.startKnockd(['watch', '--interval', '200ms']);
  t.match(await watch.line(/10\.77\.0\.8 is knocking/), / ssh .*\\u001b\]0;mine\\u0007/);
  for (const command of [['status'], ['status', '--json']])
    t.notMatch((await world.knockd(command)).stdout, '\x1b', command.join(' '));
});

t.test('a reader that goes away ends it, and says nothing', { skip }, async t => {
  const world = await loadedWorld(t, config);
  const command = `node "$0" --config "$1" watch | head -n 1; echo "\${PIPESTATUS[*]}"`;
  const piped = world.start('server', 'bash', ['-c', command, program, world.configFile]);
  await piped.line(/as the configuration says/);
  await world.nft('add element inet knockd ssh_clients_ipv4 { 10.77.0.9 }');
  const { stdout, stderr } = await piped.ended;
  t.match(stdout, /\n0 0\n$/);
  t.equal(stderr, '');
});

t.test('rules are read again only when somebody changed the ruleset', { skip }, async t => {
  const world = await loadedWorld(t, config);
  const script = `
    import { execFileSync } from 'node:child_process';
    import { withKernel } from '${resolve('build/src/host/access.js')}';
    import { observe } from '${resolve('build/src/table/observe.js')}';
    await withKernel(async ({ connection }) => {
      const dump = connection.dump.bind(connection);
      let rules, sight;
      connection.dump = request => {
        rules ||= request.subject.startsWith('rules of');
        return dump(request);
      };
      const look = async () => {
        rules = false;
        sight = await observe(connection, undefined, sight);
        console.log(rules, sight.status.services.ssh.clients.length);
      };
      await look();
      while (sight.status.services.ssh.clients.length === 0) await look();
      execFileSync('nft', ['add', 'element', 'inet', 'knockd', 'ssh_clients_ipv4', '{ 10.77.0.9 }']);
      await look();
      await look();
    });`;
  const looker = world.start('server', process.execPath, ['--input-type=module', '--eval', script]);
  await looker.line(/^false 0$/);
  await world.host('client').knock(world.server.ipv4, sshKnocks);
  const { status, stdout } = await looker.ended;
  t.equal(status, 0);
  t.match(stdout, /^true 0\n(false 0\n)+false 1\ntrue 2\nfalse 2\n$/);
});

t.test('an interval that is none is 64', { skip: missing('knockd') }, async t => {
  for (const word of ['0', '50ms', '2d', 'soon', '']) {
    const { status, stderr } = spawnSync(process.execPath, [program, 'watch', '--interval', word], {
      encoding: 'utf8',
    });
    t.equal(status, 64, word);
    t.match(stderr, /--interval .*: expected seconds/);
  }
});

/** A shell on the server, and what it remembers of its terminal. */
interface Shell {
  readonly terminal: Terminal;
  /** Types a command line. */
  readonly enter: (line: string) => Promise<void>;
  /** Starts `watch` and waits until it is seen; its process id. */
  readonly watch: () => Promise<number>;
  /** Checks that screen, cursor and settings are as before `watch`, which ended with `status`. */
  readonly isAsBefore: (t: Test, status: number) => Promise<void>;
}

async function openShell(t: Test, world: World, options: TerminalOptions = {}): Promise<Shell> {
  const terminal = await openTerminal(t, ['bash', '--norc', '--noprofile'], {
    inside: { world, host: 'server' },
    ...options,
    env: { PS1: 'ready> ', HISTFILE: '', ...options.env },
  });
  const file = (name: string) => join(world.configFile, '..', name);
  const enter = async (line: string) => {
    await terminal.type(line);
    await terminal.press('Enter');
  };
  await terminal.shows(/^ready>/m);
  return {
    terminal,
    enter,
    async watch() {
      // exec: the shell's child is the program itself
      await enter(`clear; stty -a >${file('before')}; echo before`);
      await terminal.shows(/^before\nready>$/m);
      await enter(
        `sh -c 'echo $$ >${file('pid')}; exec node ${program} --config ${world.configFile} watch --interval 300ms'`,
      );
      await terminal.shows(/^(table inet )?knockd: [\s\S]*\nssh /);
      return Number(readFileSync(file('pid'), 'utf8'));
    },
    async isAsBefore(t, status) {
      await terminal.shows(/^ready>\n*(?![\s\S])/m); // what is typed before the end is still read by watch
      await enter(`echo "ended with $?"; stty -a >${file('after')}; echo done`);
      const screen = await terminal.shows(/^done$/m);
      t.match(screen, /^before$/m, 'what was there before is there again');
      t.match(screen, new RegExp(`^ended with ${status}$`, 'm'));
      t.notMatch(screen, 'as the configuration says');
      t.equal(
        await terminal.tell('#{alternate_on} #{cursor_flag}'),
        '0 1',
        'the ordinary screen, with a cursor',
      );
      t.equal(readFileSync(file('after'), 'utf8'), readFileSync(file('before'), 'utf8'), 'stty -a');
    },
  };
}

t.test('a live view, and the terminal as it was found', inTerminal, async t => {
  const world = await loadedWorld(t, config);
  const { ipv4 } = world.server;
  const client = world.host('client');
  const shell = await openShell(t, world);
  const { terminal } = shell;

  await t.test('a client knocks and is in', async t => {
    await shell.watch();
    t.equal(await terminal.tell('#{alternate_on} #{cursor_flag}'), '1 0');
    await client.knock(ipv4, sshKnocks.slice(0, 2));
    await terminal.shows(/^KNOCKING .*\n10\.77\.0\.2 +ssh +2\/4 +[45]m/m);
    await client.knock(ipv4, sshKnocks.slice(2));
    await terminal.shows(/^CLIENT .*\n10\.77\.0\.2 +ssh +4m/m);
    const screen = await terminal.shows(/^ssh +1 +1 \+1 /m);
    t.notMatch(screen, 'KNOCKING');
    t.match(screen, /^\d\d:\d\d:\d\d ssh: 10\.77\.0\.2 is in for [45]m/m);
    t.match(await terminal.coloured(), /\[32m.*10\.77\.0\.2/);
    await terminal.press('q');
    await shell.isAsBefore(t, 0);
  });

  for (const key of ['C-c', 'Q'])
    await t.test(`${key} ends it`, async t => {
      await shell.watch();
      await terminal.press('Up', 'x', key);
      await shell.isAsBefore(t, 0);
    });

  for (const [signal, status] of [
    ['SIGTERM', 143],
    ['SIGHUP', 129],
    ['SIGINT', 0],
  ] as const)
    await t.test(`${signal} ends it`, async t => {
      process.kill(await shell.watch(), signal);
      await terminal.shows(/^ready>$/m);
      await shell.isAsBefore(t, status);
    });

  for (const stop of ['C-z', 'SIGTSTP', 'SIGSTOP'] as const)
    await t.test(`${stop}, and on again`, async t => {
      const pid = await shell.watch();
      if (stop === 'C-z') await terminal.press(stop);
      else process.kill(pid, stop);
      await terminal.shows(/Stopped[\s\S]*^ready>/m);
      if (stop !== 'SIGSTOP')
        t.match(await terminal.screen(), /before/, 'the shell has its screen meanwhile');
      // in the background it must not write to the terminal
      process.kill(pid, 'SIGCONT');
      await until(
        async () => state(pid),
        now => now === 'T',
      );
      await shell.enter('fg');
      await terminal.shows(/^table inet knockd: [\s\S]*\nssh /);
      await terminal.press('q');
      await shell.isAsBefore(t, 0);
    });

  await t.test('the window changes its size', async t => {
    await shell.watch();
    await terminal.resize(40, 10);
    await terminal.shows(/^knockd: as the configuration says\n1 in, [\s\S]*\nssh .*1 \+?[\s\S]*\nCLIENT/);
    t.equal((await terminal.screen()).filter(line => line.startsWith('SERVICE')).length, 1);
    await terminal.resize(80, 24);
    await terminal.shows(/^table inet knockd: as the configuration says +\d\d:\d\d:\d\d\n/);
    await terminal.shows(/^q ends$/m);
    await terminal.press('q');
    await shell.isAsBefore(t, 0);
  });

  await t.test('the table goes and comes', async t => {
    await shell.watch();
    await world.nft('flush ruleset');
    await terminal.shows(/^not loaded: nothing is guarded +\d/);
    await world.run('server', 'sh', [
      '-c',
      `mkdir -p /run/knockd-nft; echo '{"reason":"so"}' >/run/knockd-nft/hold`,
    ]);
    await terminal.shows(/^held: so.*; q ends$/m);
    await load(world, config);
    await terminal.shows(/^table inet knockd: as the configuration says[\s\S]*\nssh +0 /);
    await terminal.press('q');
    await shell.isAsBefore(t, 0);
  });

  await t.test('a terminal that is gone ends it', async () => {
    const pid = await shell.watch();
    await terminal.close();
    await until(
      async () => state(pid),
      now => now === undefined,
    );
  });
});

t.test('without colours, and without a screen', inTerminal, async t => {
  const world = await loadedWorld(t, config);
  await t.test('NO_COLOR', async t => {
    const { terminal, watch } = await openShell(t, world, { env: { NO_COLOR: '1' }, columns: 40, rows: 10 });
    await watch();
    await world.nft('add element inet knockd ssh_clients_ipv4 { 10.77.0.9 timeout 5m }');
    await terminal.shows(/^10\.77\.0\.9 /m);
    t.notMatch(await terminal.coloured(), '\x1b');
  });
  await t.test('TERM=dumb', async t => {
    const { terminal, enter } = await openShell(t, world);
    await enter(`TERM=dumb node ${program} --config ${world.configFile} watch`);
    await terminal.shows(/^\d\d:\d\d:\d\d table inet knockd: as the configuration says$/m);
    t.match((await terminal.screen())[0], /^ready> TERM=dumb node/, 'under the command line');
  });
});

t.test('if anything goes wrong, the screen is given back first', inTerminal, async t => {
  const screen = resolve('build/src/terminal/screen.js');
  const script = `import('${screen}').then(({ openScreen }) => {
    openScreen({ key() {}, redraw() {}, end() {} }).draw(['drawn']);
    setTimeout(() => { throw new Error('oops'); }, 500);
  })`;
  const terminal = await openTerminal(t, ['bash', '--norc', '--noprofile'], { env: { PS1: 'ready> ' } });
  await terminal.shows(/^ready>/m);
  await terminal.type(
    `a=$(stty -a); node -e "${script.replaceAll('\n', ' ')}"; test "$a" = "$(stty -a)" && echo same`,
  );
  await terminal.press('Enter');
  await terminal.shows(/^drawn$/m);
  t.match(await terminal.shows(/^same$/m), /Error: oops/);
  t.equal(await terminal.tell('#{alternate_on} #{cursor_flag}'), '0 1');
});

/** `T` for a process that is stopped, undefined for one that is no more. */
function state(pid: number): string | undefined {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
    const [, state] = stat.match(/\) (\w) /) ?? [];
    return state === 'Z' ? undefined : state;
  } catch {
    return undefined;
  }
}
