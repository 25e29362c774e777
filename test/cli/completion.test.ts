/** Completion in bash, by its function and with a real Tab; in zsh with a real Tab, in fish by its own completer. */
import { chmodSync, existsSync, mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import t, { type Test } from 'tap';
import { COMMANDS } from '../../src/cli/commands.ts';
import { lacking, run } from '../kernel/process.ts';
import { missing } from '../kernel/world.ts';
import { missingTmux, openTerminal } from './tmux.ts';

const script = resolve('completion/knockd-nft.bash');
const skip = missing('knockd');
const shown = COMMANDS.filter(({ hidden }) => !hidden);
const nameOf = (usage: string) => usage.split(' ')[0] ?? '';

/** A folder with the program as `knockd-nft`, a configuration and a file of hosts. */
function home(t: Pick<Test, 'teardown'>) {
  const folder = mkdtempSync(join(tmpdir(), 'knockd-nft-completion-'));
  t.teardown(() => rmSync(folder, { recursive: true }));
  const config = join(folder, 'knockd-nft.json');
  symlinkSync(resolve('dist/knockd-nft.cjs'), join(folder, 'knockd-nft'));
  const write = (text: string) => {
    writeFileSync(config, text);
    chmodSync(config, 0o600);
  };
  write(`{ "services": { // as people write it
    "ssh": { "ports": [22], "sequence": [7001, 8001, 9001] },
    "shop": { "ports": [443], "sequences": { "alice": [7002, 9002, 8002], "albert": [7003, 9003, 8003] } },
  } }`);
  const env = {
    PATH: `${folder}:${process.env.PATH}`,
    KNOCKD_NFT_CONFIG: config,
    HOME: folder,
    XDG_CONFIG_HOME: '',
  };
  return { folder, config, write, env };
}

/** The words that the function offers for the last of the words, which bash has split as it does. */
async function offered(
  env: Readonly<Record<string, string>>,
  ...words: readonly string[]
): Promise<string[]> {
  const source = `source "$0"; COMP_WORDS=(knockd-nft "$@"); COMP_CWORD=$#
    _knockd_nft knockd-nft "\${COMP_WORDS[COMP_CWORD]}" "\${COMP_WORDS[COMP_CWORD - 1]}"
    printf '%s\\n' "\${COMPREPLY[@]}"`;
  const { status, stdout, stderr } = await run(['bash', '-c', source, script, ...words], {
    env: { ...process.env, ...env },
  });
  if (status !== 0 || stderr !== '') throw new Error(`bash ended with ${status}: ${stderr}`);
  return stdout.split('\n').filter(Boolean);
}

t.test('commands, and the options of each, are those that there are', { skip }, async t => {
  const { env } = home(t);
  const commands = await offered(env, '');
  for (const { usage } of shown) t.ok(commands.includes(nameOf(usage)), usage);
  t.same((await offered(env, 'help', '')).sort(), (await offered(env, '')).sort());
  t.same(await offered(env, 'unl'), ['unload']);
  t.same((await offered(env, '--')).sort(), ['--config', '--help', '--version']);
  for (const { usage, options = [] } of shown) {
    const own = options.filter(([, text]) => text !== undefined).map(([flags]) => nameOf(flags));
    const all = ['--config', '--help', '--json', ...own].sort();
    t.same((await offered(env, nameOf(usage), '--')).sort(), all, usage);
  }
});

t.test('services and users are those of the file', { skip }, async t => {
  const { env, config, write } = home(t);
  t.same(await offered(env, 'grant', ''), ['ssh', 'shop']);
  t.same(await offered(env, 'grant', 'sh'), ['shop']);
  t.same(await offered(env, 'grant', '--for', '1m', 'sh'), ['shop']);
  t.same(await offered(env, 'grant', '--for', '=', '1m', 'sh'), ['shop']);
  t.same(await offered(env, 'grant', 'ssh', ''), []);
  t.same(await offered(env, 'revoke', '--cut', ''), ['ssh', 'shop']);
  t.same(await offered(env, 'revoke', 'shop', ''), ['alice', 'albert']);
  t.same(await offered(env, 'revoke', 'shop', 'ali'), ['alice']);
  t.same(await offered(env, 'revoke', 'ssh', ''), []);
  t.same(await offered(env, 'on', '--service', 'sh'), ['shop']);
  t.same(await offered(env, 'on', 'op'), ['opened']);
  t.same(await offered(env, 'on', 'opened', '--', 'knockd-n'), ['knockd-nft'], 'a program');
  const other = { ...env, KNOCKD_NFT_CONFIG: '/nowhere' };
  for (const words of [
    ['--config', config],
    ['-c', config],
    ['--config', '=', config],
  ])
    t.same(await offered(other, ...words, 'grant', ''), ['ssh', 'shop'], words.join(' '));
  t.same(await offered(other, '--config', '~/knockd-nft.json', 'grant', ''), ['ssh', 'shop']);
  t.same(await offered(other, 'grant', ''), [], 'no file');
  write('{ "services": ');
  t.same(await offered(env, 'grant', ''), [], 'a file that is not valid');
});

t.test('hosts are those of the client, with any name', { skip }, async t => {
  const { env, folder } = home(t);
  mkdirSync(join(folder, '.config/knockd-nft'), { recursive: true });
  const hosts = join(folder, '.config/knockd-nft/hosts.json');
  const names = ['bastion', 'b-*', '$(touch$IFS"broken")', '"', '~'];
  const quoted = ['bastion', 'b-\\*', '\\$\\(touch\\$IFS\\"broken\\"\\)', '\\"', '\\~'];
  const sequence = { knocks: [7001, 8001, 9001] };
  writeFileSync(hosts, JSON.stringify(Object.fromEntries(names.map(name => [name, sequence]))));
  chmodSync(hosts, 0o600);
  for (const command of ['knock', 'proxy']) t.same(await offered(env, command, ''), quoted);
  t.same(await offered(env, 'knock', 'ba'), ['bastion']);
  t.same(await offered(env, 'knock', 'bastion', ''), []);
  t.notOk(existsSync('broken'));
  chmodSync(hosts, 0o644);
  t.same(await offered(env, 'knock', ''), [], 'a file that others may read is not used');
});

t.test('values of options are not guessed', { skip }, async t => {
  const { env } = home(t);
  for (const words of [
    ['grant', 'ssh', '192.0.2.7', '--for', ''],
    ['watch', '--interval', '='],
    ['init', '--service', ''],
    ['--config', ''],
  ])
    t.same(await offered(env, ...words), [], words.join(' '));
});

t.test('a real Tab', { skip: missing('knockd') || missingTmux() }, async t => {
  const { env, folder } = home(t);
  writeFileSync(join(folder, 'a name.json'), '');
  const terminal = await openTerminal(t, ['bash', '--norc', '--noprofile'], {
    env: { ...env, PS1: 'ready> ' },
  });
  const line = async (text: string) => {
    await terminal.press('C-u', 'C-l');
    await terminal.shows(/^ready>\n*$/);
    await terminal.type(text);
    await terminal.press('Tab');
  };
  await terminal.shows(/^ready>/);
  await terminal.type(`PATH=${env.PATH}; cd ${folder}; source ${script}`); // tmux has a PATH of its own
  await terminal.press('Enter');
  await line('knockd-nft gra');
  await terminal.type('|');
  await terminal.shows(/^ready> knockd-nft grant \|$/m);
  await line('knockd-nft grant ss');
  await terminal.type('|');
  await terminal.shows(/^ready> knockd-nft grant ssh \|$/m);
  await line('knockd-nft revoke shop al');
  await terminal.press('Tab', 'Tab');
  await terminal.shows(/^albert +alice *$/m);
  await line('knockd-nft check a');
  await terminal.type('|');
  await terminal.shows(/^ready> knockd-nft check a\\ name.json \|$/m);
  await line('knockd-nft --config=kn');
  await terminal.shows(/^ready> knockd-nft --config=knockd-nft/m);
});

t.test('zsh and fish have the words of the program', async t => {
  const { status, stderr } = await run([process.execPath, 'scripts/write-completion.mjs', '--check']);
  t.equal(status, 0, stderr);
});

t.test(
  'fish offers commands, options, services, users, hosts and files',
  { skip: skip || lacking('fish') },
  async t => {
    const { env, folder, config } = home(t);
    mkdirSync(join(folder, '.config/knockd-nft'), { recursive: true });
    const hosts = join(folder, '.config/knockd-nft/hosts.json');
    writeFileSync(hosts, '{ "bastion": { "knocks": [7001, 8001, 9001] } }', { mode: 0o600 });
    const script = `cd ${folder}; source ${resolve('completion/knockd-nft.fish')}; complete -C $argv[1]`;
    const words = async (line: string) => {
      const { stdout, stderr } = await run(['fish', '--no-config', '-c', script, line], { env });
      t.equal(stderr, '', line);
      return stdout
        .split('\n')
        .filter(Boolean)
        .map(word => word.split('\t')[0]);
    };
    t.same(await words('knockd-nft '), [...shown.map(({ usage }) => nameOf(usage)), 'help'].sort());
    for (const [line, wanted] of [
      ['knockd-nft gra', ['grant']],
      ['knockd-nft try --', ['--config', '--for', '--help', '--json']],
      ['knockd-nft grant --for 1m s', ['shop', 'ssh']],
      ['knockd-nft grant ssh ', []],
      ['knockd-nft revoke --cut shop ', ['albert', 'alice']],
      ['knockd-nft user ', ['add', 'remove', 'rotate', 'show']],
      [`knockd-nft --config ${config} user rotate shop ali`, ['alice']],
      ['knockd-nft --config=nowhere grant ', []],
      ['knockd-nft proxy ', ['bastion']],
      ['knockd-nft watch --interval ', []],
      ['knockd-nft init --tokens ', []],
      ['knockd-nft on op', ['opened']],
      ['knockd-nft on --service s', ['shop', 'ssh']],
      ['knockd-nft on opened -- knockd-n', ['knockd-nft']],
      ['knockd-nft check knockd-nft.j', ['knockd-nft.json']],
    ] as const)
      t.same(await words(line), wanted, line);
  },
);

t.test('a real Tab in zsh', { skip: missing('knockd') || missingTmux() || lacking('zsh') }, async t => {
  const { env, folder } = home(t);
  const terminal = await openTerminal(t, ['zsh', '-f'], { env: { ...env, PS1: 'ready> ' } });
  const tab = async (text: string, wanted: RegExp) => {
    await terminal.press('C-u', 'C-l');
    await terminal.shows(/^ready>\n*$/);
    await terminal.type(text);
    await terminal.press('Tab');
    await terminal.shows(wanted);
  };
  await terminal.shows(/^ready>/);
  await terminal.type(
    `PATH=${env.PATH}; cd ${folder}; fpath=(${resolve('completion')} $fpath); autoload -U compinit; compinit -D`,
  );
  await terminal.press('Enter');
  await tab('knockd-nft gra', /^ready> knockd-nft grant$/m);
  await tab('knockd-nft unl', /^ready> knockd-nft unload$/m);
  await tab('knockd-nft grant ss', /^ready> knockd-nft grant ssh$/m);
  await tab('knockd-nft revoke --cut shop ali', /^ready> knockd-nft revoke --cut shop alice$/m);
  await tab('knockd-nft --config knockd-nft.json user rotate shop alb', /shop albert$/m);
  await tab('knockd-nft try --f', /^ready> knockd-nft try --for=?$/m);
  await tab('knockd-nft on op', /^ready> knockd-nft on opened$/m);
  await tab('knockd-nft on --service ss', /^ready> knockd-nft on --service ssh$/m);
  await tab('knockd-nft on opened -- knockd-n', /^ready> knockd-nft on opened -- knockd-nft$/m);
  await tab('knockd-nft init --tokens al', /^ready> knockd-nft init --tokens al$/m);
  await tab('knockd-nft check kn', /^ready> knockd-nft check knockd-nft(\.json)?$/m);
});
