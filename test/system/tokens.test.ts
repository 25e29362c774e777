/** One-time tokens on a machine with the package: fed under the units, and used once, whatever happens to the machine. */
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import t, { type Test } from 'tap';
import type { TokenStatus } from '../../src/cli/token-status.ts';
import type { Ledger } from '../../src/feeder/ledger.ts';
import { deriveToken, windowAt } from '../../src/token/derive.ts';
import { tokenDatagram } from '../../src/token/packet.ts';
import { VERSION } from '../../src/version.ts';
import {
  eventually,
  follow,
  install,
  installedLab,
  own,
  property,
  SERVER,
  succeed,
  write,
} from './installed.ts';
import { type Lab, missing } from './lab.ts';

const LEDGER = '/var/lib/knockd-nft/tokens.json';
const BOB = '/etc/knockd-nft.d/bob';
const TOKENS = 'knockd-nft-tokens.service';
const secrets = new Map([
  ['alice', 'a1'.repeat(32)],
  ['bob', 'b0'.repeat(32)],
]);
const config = {
  token: { hours: 2 },
  services: {
    ssh: { ports: [22], openFor: '5m', tokens: { alice: secrets.get('alice'), bob: { file: BOB } } },
  },
};

const now = () => windowAt(Date.now());

function tokenOf(user: string, window: number): string {
  const secret = Buffer.from(secrets.get(user) ?? '', 'hex');
  return deriveToken({ secret, realm: 'default', service: 'ssh' }, window);
}

const statusOf = async (lab: Lab) =>
  (JSON.parse(await succeed(lab, 'knockd-nft', 'status', '--json')) as { readonly tokens?: TokenStatus })
    .tokens;
const ledgerOf = (lab: Lab) => JSON.parse(readFileSync(lab.path(LEDGER), 'utf8')) as Ledger;

/** The setting for each boot: all addresses from 10.77.0.128 on are the client's, and the server has a door. */
async function prepare(lab: Lab): Promise<void> {
  await succeed(lab, 'ip', '-n', 'client', 'route', 'add', 'local', '10.77.0.128/25', 'dev', 'lo');
  await lab.server().listen(22);
}

let address = 128;

/** Sends a token from an address that nobody had before, and connects from there: whether that opened. */
async function opens(lab: Lab, token: string): Promise<boolean> {
  const from = `10.77.0.${address++}`;
  const payload = tokenDatagram(token);
  await lab.client().send([{ protocol: 'udp', to: SERVER, port: 62201, from, payload }]);
  return (await lab.client().connect(SERVER, 22, { from })) === 'open';
}

const last = new Map<string, number>();

/** A token of that user that has not been sent yet, of the first minute that is not left out, `skip` minutes later. */
function fresh(lab: Lab, user: string, skip = 0): { readonly token: string; readonly window: number } {
  const window = Math.max(now(), ledgerOf(lab).floor + 1, (last.get(user) ?? 0) + 1) + skip;
  last.set(user, window);
  return { token: tokenOf(user, window), window };
}

/** The supervisor has put the file in force, with tokens. */
async function ready(lab: Lab): Promise<void> {
  const map = await eventually(
    () => lab.run('nft', ['list', 'map', 'inet', 'knockd', 'tokens']),
    ({ stdout }) => stdout.includes('elements'),
  );
  if (!map.stdout.includes('elements')) throw new Error(`no tokens are fed: ${map.stdout}${map.stderr}`);
  const state = await eventually(
    () => property(lab, 'ActiveState'),
    it => it === 'active',
  );
  if (state !== 'active') throw new Error(`the supervisor is ${state}`);
}

async function signal(lab: Lab, name: 'KILL' | 'STOP' | 'CONT'): Promise<void> {
  await succeed(lab, 'systemctl', 'kill', '--kill-who=main', `--signal=${name}`, 'knockd-nft');
}

async function addUser(lab: Lab, user: string): Promise<void> {
  const said = await succeed(lab, 'knockd-nft', 'user', 'add', 'ssh', user, '--host', SERVER);
  secrets.set(user, said.match(/\b[0-9a-f]{64}\b/)?.[0] ?? '');
}

/** The same package as another version, whose program says so, too: what it loads is not what the other one did. */
async function otherVersion(lab: Lab, file: string, version: string): Promise<string> {
  const made = `/var/cache/other_${version}.deb`;
  const script = `dpkg-deb -R ${file} /tmp/other
    sed -i 's/^Version: .*/Version: ${version}/' /tmp/other/DEBIAN/control
    sed -i 's/\\bVERSION="[0-9.]*"/VERSION="${version}"/' /tmp/other/usr/lib/knockd-nft/dist/knockd-nft.cjs
    dpkg-deb -Znone -b /tmp/other ${made}`;
  await succeed(lab, 'sh', '-ec', script);
  return made;
}

/** That the window is in the record, which comes within milliseconds. */
async function noted(lab: Lab, window: number): Promise<void> {
  const isThere = async () => Object.values(ledgerOf(lab).used).some(windows => windows.includes(window));
  if (!(await eventually(isThere, is => is))) throw new Error(`a use of window ${window} is not noted`);
}

/** The whole journal, with all that systemd notes about each line, and all processes with their environment. */
async function tellsNoSecret(t: Test, lab: Lab): Promise<void> {
  const journal = await succeed(lab, 'journalctl', '--all', '--output=json');
  const processes = await succeed(lab, 'ps', '-eww', 'e');
  t.match(journal, /knockd-nft/);
  t.match(processes, /knockd-nft\.cjs run/);
  for (const [user, secret] of secrets)
    t.notOk(`${journal}${processes}`.toLowerCase().includes(secret), `the secret of ${user}`);
}

/**
 * Alice uses a token in the midst of `event`. Nobody opens with a copy afterwards, nor with the one before, also not where the tokens
 * are fed anew; and she opens with her next one: of the next minute, or, where it is not `known` what was used, of the fifth from
 * now on.
 */
async function usedOnce(
  t: Test,
  lab: Lab,
  event: (use: () => Promise<void>, window: number) => Promise<void>,
  { known = true } = {},
): Promise<void> {
  const { floor } = ledgerOf(lab);
  const { token, window } = fresh(lab, 'alice', 1);
  const before = tokenOf('alice', window - 1);
  await event(async () => {
    t.ok(await opens(lab, token), 'a token opens');
  }, window);
  await ready(lab);
  const after = ledgerOf(lab).floor;
  if (known) t.equal(after, floor, 'no minute is left out');
  else t.ok(after >= floor && after <= now() + 4, `at most five minutes are left out (${after - now()})`);
  t.notOk(await opens(lab, token), 'and not again');
  await noted(lab, window);
  t.notOk(await opens(lab, before), 'nor the one before');
  await succeed(lab, 'nft', 'flush', 'ruleset');
  await ready(lab); // the table is back, whatever the journal shows
  t.notOk(await opens(lab, token), 'nor after a flush');
  t.notOk(await opens(lab, before), 'nor the one before');
  t.ok(
    await opens(lab, fresh(lab, 'alice').token),
    `the next one opens, ${window + 1 - now()} minutes ahead`,
  );
  t.equal(ledgerOf(lab).floor, after, 'the flush left out no minute');
}

t.test('tokens on a machine with the package', { skip: missing() }, async t => {
  const lab = await installedLab(t);
  await prepare(lab);

  await t.test('are fed by the supervisor, also from files of their own, and by the loader', async t => {
    mkdirSync(lab.path('/etc/knockd-nft.d'));
    writeFileSync(lab.path(BOB), `${secrets.get('bob')}\n`);
    own(lab, BOB);
    const journal = await follow(lab);
    write(lab, config);
    await journal.line(/event=swapped/);
    await ready(lab);
    t.match(await statusOf(lab), { users: { ssh: ['alice', 'bob'] }, until: /^\d{4}-/ });
    t.ok(await opens(lab, fresh(lab, 'bob').token));
    const loader = await follow(lab, 'knockd-nft-load');
    await succeed(lab, 'systemctl', 'restart', 'knockd-nft-load');
    await loader.line(/^tokens: 2 users, until /);
    await ready(lab); // the supervisor restarts with it
    t.ok(await opens(lab, fresh(lab, 'bob').token));
  });

  await t.test('tokens of a new device open in this very minute, once', async t => {
    const processes = lab.start('sh', ['-c', 'while ps -eww e; do sleep 0.05; done']);
    const start = Date.now();
    await addUser(lab, 'phone');
    const window = now();
    const token = tokenOf('phone', window);
    t.ok(
      await eventually(
        () => opens(lab, token),
        is => is,
        10_000,
      ),
    );
    t.comment(`${Date.now() - start} ms after the command began`);
    t.notOk(await opens(lab, token), 'and not again');
    await noted(lab, window);
    t.notOk(await opens(lab, tokenOf('phone', window - 1)), 'nor the one before');
    await succeed(lab, 'systemctl', 'stop', 'knockd-nft');
    t.ok(await opens(lab, tokenOf('phone', window + 2)), 'a later one');
    await succeed(lab, 'systemctl', 'start', 'knockd-nft');
    await noted(lab, window + 2);
    t.notOk(await opens(lab, tokenOf('phone', window + 1)), 'and then not the one before');
    const seen = processes.lines().join('\n');
    t.match(seen, /knockd-nft.cjs user add ssh phone/);
    t.notOk(seen.includes(secrets.get('phone') ?? ''), 'no process shows the secret');
    await processes.stop('SIGKILL');
  });

  await t.test('used once: the supervisor is restarted', t =>
    usedOnce(t, lab, async use => {
      await use();
      await succeed(lab, 'systemctl', 'restart', 'knockd-nft');
    }),
  );
  await t.test('used once: the supervisor is killed before it hears of it', t =>
    usedOnce(t, lab, async use => {
      const pid = await property(lab, 'MainPID');
      await signal(lab, 'STOP');
      await use();
      await signal(lab, 'KILL');
      await eventually(
        () => property(lab, 'MainPID'),
        is => is !== pid && is !== '0',
      );
    }),
  );
  await t.test('used once: the supervisor is stopped meanwhile', t =>
    usedOnce(t, lab, async use => {
      await succeed(lab, 'systemctl', 'stop', 'knockd-nft');
      await use();
      await succeed(lab, 'systemctl', 'start', 'knockd-nft');
    }),
  );
  await t.test('used once: the loader is restarted', t =>
    usedOnce(t, lab, async use => {
      await use();
      await succeed(lab, 'systemctl', 'restart', 'knockd-nft-load');
    }),
  );
  await t.test('used once: unloaded, and loaded again', t =>
    usedOnce(t, lab, async use => {
      await succeed(lab, 'systemctl', 'stop', 'knockd-nft');
      await use();
      await succeed(lab, 'systemctl', 'stop', 'knockd-nft-load');
      await succeed(lab, 'systemctl', 'start', 'knockd-nft');
    }),
  );
  const [file = ''] = (await succeed(lab, 'sh', '-c', 'echo /var/cache/knockd-nft_*.deb')).split('\n');
  const newer = await otherVersion(lab, file, '9.9.9');
  for (const [to, version] of [
    [newer, '9.9.9'],
    [file, VERSION],
  ] as const)
    await t.test(`used once: the package is upgraded meanwhile, to ${version}`, t =>
      usedOnce(t, lab, async use => {
        const visitor = `10.77.0.${address}`;
        t.ok(await opens(lab, fresh(lab, 'bob').token), 'a client comes in');
        await Promise.all([install(lab, to), use()]);
        t.match(await succeed(lab, 'knockd-nft', '--version'), version);
        await ready(lab);
        t.match(
          await succeed(lab, 'nft', 'list', 'table', 'inet', 'knockd'),
          `comment "knockd-nft ${version} `,
        );
        t.equal(await lab.client().connect(SERVER, 22, { from: visitor }), 'open', 'and stays in');
      }),
    );
  await t.test('used once: the package is removed, and installed again', t =>
    usedOnce(t, lab, async use => {
      await use();
      await succeed(lab, 'dpkg', '--remove', 'knockd-nft');
      await install(lab, file);
    }),
  );

  await t.test('are fed by the timer if no supervisor runs', async t => {
    t.equal(await property(lab, 'ActiveState', 'knockd-nft-tokens.timer'), 'active');
    t.equal(await property(lab, 'UnitFileState', 'knockd-nft-tokens.timer'), 'enabled');
    t.not(await property(lab, 'NextElapseUSecMonotonic', 'knockd-nft-tokens.timer'), 'infinity');
    t.equal(await property(lab, 'Triggers', 'knockd-nft-tokens.timer'), TOKENS);
    t.equal(
      await property(lab, 'OnClockChange', 'knockd-nft-tokens.timer'),
      'yes',
      'also where the clock is set',
    );
    const used = fresh(lab, 'alice').token;
    await succeed(lab, 'systemctl', 'disable', '--now', 'knockd-nft');
    t.ok(await opens(lab, used));
    const before = ledgerOf(lab);
    await succeed(lab, 'systemctl', 'start', TOKENS);
    t.equal(await property(lab, 'Result', TOKENS), 'success');
    t.ok(ledgerOf(lab).time > before.time, 'the record is of now');
    t.equal(ledgerOf(lab).floor, before.floor);
    await succeed(lab, 'nft', 'flush', 'map', 'inet', 'knockd', 'tokens');
    t.notOk(await opens(lab, tokenOf('alice', ledgerOf(lab).fed?.until ?? 0)), 'none is left');
    const journal = await follow(lab, TOKENS);
    await succeed(lab, 'systemctl', 'start', TOKENS);
    await journal.line(/^tokens: 3 users, until .*, from .* on: /);
    t.notOk(await opens(lab, used), 'the used one');
    t.ok(await opens(lab, fresh(lab, 'alice').token), 'a fresh one');
  });

  await t.test('are left to a supervisor that runs', async t => {
    await succeed(lab, 'systemctl', 'enable', '--now', 'knockd-nft');
    await ready(lab);
    await signal(lab, 'STOP'); // it writes nothing meanwhile
    const before = readFileSync(lab.path(LEDGER), 'utf8');
    await succeed(lab, 'systemctl', 'start', TOKENS);
    t.equal(await property(lab, 'Result', TOKENS), 'success');
    t.equal(readFileSync(lab.path(LEDGER), 'utf8'), before);
    await signal(lab, 'CONT');
  });

  await t.test('ask the kernel whether the clock is synchronized, in each unit that feeds', async t => {
    const ask = `require("/usr/lib/knockd-nft/node_modules/koffi").load(null).func("int adjtimex(void *)")(Buffer.alloc(208)) < 0 && process.exit(1)`;
    writeFileSync(lab.path('/usr/lib/knockd-nft/ask.cjs'), ask);
    for (const unit of ['knockd-nft', 'knockd-nft-load', 'knockd-nft-tokens']) {
      const text = readFileSync(lab.path(`/usr/lib/systemd/system/${unit}.service`), 'utf8')
        .replace(/^ExecStart=.*$/m, 'ExecStart=/usr/bin/node --jitless /usr/lib/knockd-nft/ask.cjs')
        .replace(/^(ExecReload|Restart|RemainAfterExit|WatchdogSec|PartOf|Wants|PropagatesStopTo)=.*$/gm, '')
        .replace(/^Type=.*$/m, 'Type=oneshot');
      writeFileSync(lab.path('/run/systemd/system/ask.service'), text);
      await succeed(lab, 'systemctl', 'daemon-reload');
      t.equal((await lab.run('systemctl', ['start', 'ask'])).status, 0, unit);
    }
  });

  await t.test('used once: the machine is rebooted', async t => {
    await tellsNoSecret(t, lab);
    await usedOnce(
      t,
      lab,
      async (use, window) => {
        await use();
        await noted(lab, window);
        await lab.reboot();
        await prepare(lab);
      },
      { known: false },
    );
  });

  await t.test('used once: the machine crashes before anybody notes it', async t => {
    await addUser(lab, 'tablet');
    await eventually(
      async () => Object.values(ledgerOf(lab).fed?.users ?? {}).some(({ user }) => user === 'tablet'),
      is => is,
    );
    const token = tokenOf('tablet', now());
    await tellsNoSecret(t, lab);
    await usedOnce(
      t,
      lab,
      async (use, window) => {
        await use();
        await noted(lab, window);
        await signal(lab, 'STOP');
        t.ok(await opens(lab, token), 'of a new device, in this very minute');
        await lab.crash();
        await prepare(lab);
      },
      { known: false },
    );
    t.notOk(await opens(lab, token), 'and not again');
    t.ok(await opens(lab, fresh(lab, 'tablet').token), 'the next one');
    await tellsNoSecret(t, lab);
  });
});
