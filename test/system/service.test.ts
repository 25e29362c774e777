/** The supervisor as systemd's service, from a package that was installed, with a client that knocks. */
import { mkdirSync, renameSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import t, { type Test } from 'tap';
import type { Running } from '../kernel/process.ts';
import {
  CLIENT,
  CONFIG,
  eventually,
  follow,
  installedLab,
  own,
  property,
  SERVER,
  STRANGER,
  ssh,
  sshKnocks,
  status,
  succeed,
  text,
  write,
} from './installed.ts';
import { type Lab, missing } from './lab.ts';

const guarding = (port: number) => ({
  services: { ssh, web: { ports: [port], sequence: [7001, 8002, 9003] } },
});

/**
 * One way of saving: the swap is reported, and strangers see it. A comment says how long it took; the aim is 500 ms.
 */
async function swaps(t: Test, lab: Lab, journal: Running, port: number, save: () => void): Promise<void> {
  const start = Date.now();
  save();
  await journal.line(/^swapped table inet knockd, 2 services: .*event=swapped/);
  const [entry = '{}'] = (
    await succeed(lab, 'journalctl', '-u', 'knockd-nft', '-o', 'json', '-n', '1')
  ).split('\n');
  const microseconds = Number((JSON.parse(entry) as { __REALTIME_TIMESTAMP: string }).__REALTIME_TIMESTAMP);
  const took = Math.round(microseconds / 1000 - start);
  t.comment(`swapped after ${took} ms`);
  t.equal(await lab.client().connect(SERVER, port), 'silent', `${port} is guarded`);
  t.equal(await lab.client().connect(SERVER, port - 1), 'refused', `${port - 1} is not guarded any more`);
}

t.test('the supervisor under systemd', { skip: missing() }, async t => {
  const lab = await installedLab(t);
  const client = lab.client();
  await lab.server().listen(22);

  await t.test('follows the file however it is saved', async t => {
    const journal = await follow(lab);
    write(lab, guarding(8080));
    await journal.line(/^swapped table inet knockd, 2 services/);

    await t.test('in place', t => swaps(t, lab, journal, 8081, () => write(lab, guarding(8081))));
    await t.test('replaced by rename', t =>
      swaps(t, lab, journal, 8082, () => {
        write(lab, guarding(8082), '/etc/knockd-nft.json.new');
        renameSync(lab.path('/etc/knockd-nft.json.new'), lab.path(CONFIG));
      }),
    );
    await t.test('removed, and written again later', async t => {
      rmSync(lab.path(CONFIG));
      await journal.line(/^invalid .*no such file.* event=invalid/);
      t.equal(await client.connect(SERVER, 8082), 'silent', 'the old ruleset goes on');
      await swaps(t, lab, journal, 8083, () => write(lab, guarding(8083)));
    });
    await t.test('in a burst of writes, of which the last one counts', t =>
      swaps(t, lab, journal, 8084, () => {
        for (let round = 0; round < 50; round++) write(lab, guarding(9000 + round));
        write(lab, guarding(8084));
      }),
    );
    await t.test('a symbolic link that is switched', async t => {
      mkdirSync(lab.path('/etc/knockd/v1'), { recursive: true });
      mkdirSync(lab.path('/etc/knockd/v2'));
      write(lab, guarding(8085), '/etc/knockd/v1/config');
      write(lab, guarding(8086), '/etc/knockd/v2/config');
      const point = (link: string, target: string) => {
        symlinkSync(target, lab.path(`${link}.new`));
        renameSync(lab.path(`${link}.new`), lab.path(link));
      };
      await swaps(t, lab, journal, 8085, () => point(CONFIG, '/etc/knockd/v1/config'));
      await swaps(t, lab, journal, 8086, () => point(CONFIG, '/etc/knockd/v2/config'));
      await t.test("a parent folder's link too", async t => {
        write(lab, guarding(8087), '/etc/knockd/v1/config');
        point('/etc/knockd/current', 'v2');
        point(CONFIG, '/etc/knockd/current/config');
        await swaps(t, lab, journal, 8087, () => point('/etc/knockd/current', 'v1'));
      });
    });
    rmSync(lab.path(CONFIG));
    write(lab, { services: { ssh } });
    await journal.line(/^swapped table inet knockd, 1 service\b/);
  });

  await t.test('writes a line for an opening, and lets the client in', async t => {
    const journal = await follow(lab);
    t.equal(await client.connect(SERVER, 22), 'silent');
    await client.knock(SERVER, sshKnocks);
    t.equal(
      await journal.line(/^opened /),
      `opened ssh for ${CLIENT} service=ssh client=${CLIENT} openFor=10s event=opened`,
    );
    t.equal(await client.connect(SERVER, 22), 'open');
    t.equal(await client.connect(SERVER, 22, { from: STRANGER }), 'silent');
    const lines = await succeed(lab, 'journalctl', '-u', 'knockd-nft', '-o', 'json');
    const opened = lines.split('\n').find(line => line.includes('opened ssh'));
    t.match(JSON.parse(opened ?? '{}'), { PRIORITY: '6', SYSLOG_IDENTIFIER: 'knockd-nft' });
  });

  await t.test('says in one line of systemctl status how things are', async t => {
    await eventually(
      () => succeed(lab, 'systemctl', 'status', 'knockd-nft'),
      shown => shown.includes('Status: "guarding ssh; 1 in'),
    );
    const shown = await succeed(lab, 'systemctl', 'status', 'knockd-nft');
    t.match(shown, /Status: "guarding ssh; .*\/etc\/knockd-nft\.json is in force"/);
  });

  await t.test('runs with CAP_NET_ADMIN and nothing else, and writes only its own folders', async t => {
    const pid = await property(lab, 'MainPID');
    const process = await succeed(lab, 'cat', `/proc/${pid}/status`);
    for (const set of ['Inh', 'Prm', 'Eff', 'Bnd', 'Amb'])
      t.match(process, new RegExp(`^Cap${set}:\\s0000000000001000$`, 'm'), set); // bit 12
    t.match(process, /^NoNewPrivs:\s1$/m);
    t.match(process, /^Seccomp:\s2$/m);
    t.notMatch(process, /^Uid:\s0\s/m);
    t.notMatch(process, /^Groups:\s0\b/m);
    const mounts = (await succeed(lab, 'cat', `/proc/${pid}/mountinfo`)).trim().split('\n');
    const writable = mounts.flatMap(line => {
      const [, , , , path = '', flags = ''] = line.split(' ');
      return flags.split(',').includes('rw') && !/^\/(proc|dev|run\/netns)(\/|$)/.test(path) ? [path] : [];
    });
    // /tmp and /var/tmp are private ones
    t.same(new Set(writable), new Set(['/run/knockd-nft', '/tmp', '/var/lib/knockd-nft', '/var/tmp']));
    t.match(
      await succeed(lab, 'ls', '-lA', '/var/lib/knockd-nft'),
      /-rw-------.*knockd-nft .*last-good\.json\n$/,
    );
    t.match(await succeed(lab, 'stat', '-c', '%a %U', '/var/lib/knockd-nft'), /^700 knockd-nft$/m);
  });

  await t.test('systemd-analyze finds little exposed', async t => {
    for (const [unit, most] of [
      ['knockd-nft.service', 1.5],
      ['knockd-nft-load.service', 2],
      ['knockd-nft-unload.service', 2],
      ['knockd-nft-tokens.service', 2],
    ] as const) {
      const shown = await succeed(lab, 'systemd-analyze', 'security', '--no-pager', unit);
      const exposure = Number(shown.match(/exposure level for .*: ([\d.]+)/)?.[1]);
      t.ok(exposure <= most, `${unit}: ${exposure}`);
    }
  });

  await t.test('systemctl reload fails if the file is not valid, and says why', async t => {
    await succeed(lab, 'systemctl', 'reload', 'knockd-nft');
    const journal = await follow(lab);
    writeFileSync(lab.path(CONFIG), '{ "services": { "ssh": { "ports": [22],\n "sequence": [70000] } } }');
    own(lab, CONFIG);
    const reload = await lab.run('systemctl', ['reload', 'knockd-nft']);
    t.not(reload.status, 0, text(reload));
    t.ok(
      await journal.line(/^invalid .*knockd-nft\.json:2:15: .* line=2 column=15 event=invalid$/),
      'the line and column, in the journal',
    );
    t.equal(await property(lab, 'ActiveState'), 'active');
    const line = await eventually(
      () => property(lab, 'StatusText'),
      it => it.includes('NOT'),
    );
    t.match(line, /^guarding ssh; \d in; NOT in force: .*:2:15: /);
    t.equal(await client.connect(SERVER, 22, { from: STRANGER }), 'silent', 'the old ruleset goes on');
    write(lab, { services: { ssh } });
    await succeed(lab, 'systemctl', 'reload', 'knockd-nft');
    await eventually(
      () => property(lab, 'StatusText'),
      it => it.includes('is in force'),
    );
    t.match(await property(lab, 'StatusText'), /json is in force$/);
  });

  await t.test('starts and says how things are also with hundreds of services', async t => {
    const many = Array.from({ length: 200 }, (_, index) => [
      `a-service-with-a-long-name-${index}`,
      { ports: [2000 + index], sequence: [20_000 + index, 30_000 + index, 40_000 + index] },
    ]);
    write(lab, { services: { ssh, ...Object.fromEntries(many) } });
    await succeed(lab, 'systemctl', 'restart', 'knockd-nft');
    t.match(await property(lab, 'StatusText'), /^guarding ssh, .*, and 181 more; .*json is in force$/);
    write(lab, { services: { ssh } });
    await succeed(lab, 'systemctl', 'reload', 'knockd-nft');
  });

  await t.test('killed, it is back, and knocks go on meanwhile', async t => {
    write(lab, { services: { ssh: { ...ssh, openFor: '1m' } } });
    await succeed(lab, 'systemctl', 'reload', 'knockd-nft');
    await eventually(
      () => status(lab),
      ({ inSync }) => inSync === true,
    );
    const before = await property(lab, 'MainPID');
    const journal = await follow(lab);
    await succeed(lab, 'systemctl', 'kill', '--kill-who=main', '--signal=KILL', 'knockd-nft');
    await client.knock(SERVER, sshKnocks);
    t.equal(await client.connect(SERVER, 22), 'open');
    await journal.line(/^unchanged table inet knockd, 1 service.*event=unchanged/);
    const after = await eventually(
      () => property(lab, 'ActiveState'),
      state => state === 'active',
    );
    t.equal(after, 'active');
    t.not(await property(lab, 'MainPID'), before);
    t.match((await status(lab)).services.ssh?.clients, [{ address: CLIENT }], 'the client is still in');
  });

  await t.test('stopped, it leaves table and openings', async t => {
    const journal = await follow(lab);
    await succeed(lab, 'systemctl', 'stop', 'knockd-nft');
    await journal.line(/^stopped: the table stays.* event=stopped/);
    t.equal(await client.connect(SERVER, 22), 'open', 'a client that was in');
    t.equal(await client.connect(SERVER, 22, { from: STRANGER }), 'silent');
    await client.knock(SERVER, sshKnocks, { from: STRANGER });
    t.equal(await client.connect(SERVER, 22, { from: STRANGER }), 'open', 'the kernel goes on knocking');
    t.equal(await property(lab, 'ActiveState', 'knockd-nft-load.service'), 'active');
    await succeed(lab, 'systemctl', 'start', 'knockd-nft');
    t.equal(await client.connect(SERVER, 22), 'open');
  });

  await t.test('the watchdog restarts it when it hangs', async t => {
    mkdirSync(lab.path('/run/systemd/system/knockd-nft.service.d'), { recursive: true });
    const dropIn = lab.path('/run/systemd/system/knockd-nft.service.d/watchdog.conf');
    writeFileSync(dropIn, '[Service]\nWatchdogSec=3\n');
    await succeed(lab, 'systemctl', 'daemon-reload');
    await succeed(lab, 'systemctl', 'restart', 'knockd-nft');
    const before = await property(lab, 'MainPID');
    const journal = await follow(lab);
    await succeed(lab, 'systemctl', 'kill', '--kill-who=main', '--signal=STOP', 'knockd-nft');
    t.equal(await client.connect(SERVER, 22), 'open', 'the client is in meanwhile');
    await journal.line(/Watchdog timeout/);
    await journal.line(/event=unchanged/);
    t.not(await property(lab, 'MainPID'), before);
  });

  await t.test('restarting the services opens nothing, and loses nobody', async t => {
    await client.knock(SERVER, sshKnocks);
    t.equal(await client.connect(SERVER, 22), 'open');
    const passerBy = '10.77.0.99'; // who needs no answer to be counted
    const before = (await status(lab)).services.ssh;
    const witness = `table inet witness {
      counter syns { }
      counter answers { }
      chain in {
        type filter hook prerouting priority -400
        ip saddr ${passerBy} tcp flags & (syn | ack) == syn counter name syns
      }
      chain out {
        type filter hook output priority 0
        ip daddr ${passerBy} tcp flags & (syn | ack) == syn | ack counter name answers
      }
    }`;
    await succeed(lab, 'nft', witness);
    for (const units of [['knockd-nft-load', 'knockd-nft'], ['knockd-nft-load'], ['knockd-nft']]) {
      let busy = true;
      const fire = async () => {
        const sources = { first: passerBy, count: 1 };
        while (busy) await client.flood({ to: SERVER, knocks: ['22/tcp'], sources, count: 1000 });
      };
      const fired = fire();
      try {
        await succeed(lab, 'systemctl', 'restart', ...units);
        await succeed(lab, 'systemctl', 'is-active', 'knockd-nft-load', 'knockd-nft');
      } finally {
        busy = false;
        await fired;
      }
      const listed = await succeed(lab, 'nft', 'list', 'counters', 'table', 'inet', 'witness');
      const [syns, answers] = [...listed.matchAll(/packets (\d+)/g)].map(([, count]) => Number(count));
      t.ok(syns && syns > 1000, `${units}: ${syns} packets of a stranger`);
      t.equal(answers, 0, `${units}: answers`);
      const after = (await status(lab)).services.ssh;
      t.ok(
        after?.clients.some(({ address }) => address === CLIENT),
        'the client is still in',
      );
      t.ok(after && before && after.opened >= before.opened && after.refused >= 1000, 'and counters go on');
    }
    await succeed(lab, 'nft', 'delete', 'table', 'inet', 'witness');
  });

  await t.test('stopping the loader unloads, and stops the supervisor that would load again', async t => {
    await succeed(lab, 'systemctl', 'stop', 'knockd-nft-load');
    t.equal((await status(lab)).loaded, false);
    t.equal(await property(lab, 'ActiveState'), 'inactive');
    t.equal(await client.connect(SERVER, 22, { from: STRANGER }), 'open');
    await succeed(lab, 'systemctl', 'start', 'knockd-nft');
    t.equal(await property(lab, 'ActiveState', 'knockd-nft-load.service'), 'active');
    t.equal(await client.connect(SERVER, 22), 'silent');
  });
});
