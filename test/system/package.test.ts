/** The life of a package: installed, upgraded, removed, installed again, purged. */
import { existsSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { gunzipSync } from 'node:zlib';
import t from 'tap';
import { VERSION } from '../../src/version.ts';
import {
  addStranger,
  CLIENT,
  CONFIG,
  eventually,
  install,
  makePackage,
  property,
  SERVER,
  STRANGER,
  ssh,
  sshKnocks,
  status,
  succeed,
  write,
} from './installed.ts';
import { createLab, missing } from './lab.ts';

t.test('the Debian package', { skip: missing() }, async t => {
  const lab = await createLab(t);
  await addStranger(lab);
  const client = lab.client();
  await lab.server().listen(22);
  const first = await makePackage(lab, VERSION);
  const newer = await makePackage(lab, '9.9.9');
  const isActive = async (unit: string) => property(lab, 'ActiveState', `${unit}.service`);
  const configuration = () => readFileSync(lab.path(CONFIG), 'utf8');

  await t.test('writes a configuration that guards nothing yet, and starts', async t => {
    const said = await install(lab, first);
    t.match(said, /nothing is guarded yet\. To hide ssh: sudo knockd-nft init\n/, 'and says what to do next');
    t.equal(await isActive('knockd-nft-load'), 'active');
    t.equal(await isActive('knockd-nft'), 'active');
    t.match(await status(lab), { loaded: true, inSync: true, services: {} });
    t.equal((await succeed(lab, 'stat', '-c', '%a %U:%G', CONFIG)).trim(), '640 root:knockd-nft');
    t.match((await succeed(lab, 'knockd-nft', '--version')).trim(), /^\d+\.\d+\.\d+$/);
    const program = await property(lab, 'MainPID');
    const runtime = await succeed(lab, 'readlink', `/proc/${program}/exe`);
    t.equal(runtime, '/usr/lib/knockd-nft/bin/node\n', 'with the Node.js that the package brings');
    const owners = await succeed(lab, 'sh', '-c', "dpkg -L knockd-nft | xargs stat -c '%U:%G' | sort -u");
    t.equal(owners, 'root:root\n', 'files that the package owns');
  });

  await t.test('and its comment guards ssh with a random sequence', async t => {
    const text = configuration();
    const ports = (text.match(/\/\/"sequence": \[(.*)\]/)?.[1] ?? '').split(', ').map(Number);
    t.equal(new Set(ports).size, 4);
    t.ok(
      ports.every(port => port >= 1024 && port <= 65535),
      ports.join(),
    );
    write(lab, text.replace(/^( *)\/\/(?=["}])/gm, '$1'));
    const { stdout, stderr, status: exit } = await lab.run('knockd-nft', ['check']);
    t.equal(exit, 0, stdout + stderr);
    t.notMatch(stderr, /warning/);
    t.match(await succeed(lab, 'knockd-nft', 'load'), /./);
    t.equal(await client.connect(SERVER, 22), 'silent');
    const knocks = ports.map(port => `${port}/tcp`);
    await client.knock(SERVER, knocks);
    t.equal(await client.connect(SERVER, 22), 'open');
  });

  await t.test('it brings its manual pages, and completion', async t => {
    for (const page of ['knockd-nft.8', 'knockd-nft.json.5'])
      t.equal(
        gunzipSync(readFileSync(lab.path(`/usr/share/man/man${page.at(-1)}/${page}.gz`))).toString(),
        readFileSync(`man/${page}`, 'utf8'),
        page,
      );
    const completion = `source /usr/share/bash-completion/completions/knockd-nft
      COMP_WORDS=(knockd-nft grant s); COMP_CWORD=2; _knockd_nft knockd-nft; echo "\${COMPREPLY[*]}"`;
    t.equal(await succeed(lab, 'bash', '-c', completion), 'ssh\n');
  });

  await t.test('an upgrade keeps the client in, the others out, and the file as it is', async t => {
    write(lab, { services: { ssh: { ...ssh, openFor: '5m' } } });
    await succeed(lab, 'knockd-nft', 'load');
    await client.knock(SERVER, sshKnocks);
    const session = await client.open(SERVER, 22);
    const [before, file] = [await property(lab, 'MainPID'), configuration()];
    const seen = { client: new Set<string>(), stranger: new Set<string>() };
    let upgraded = false;
    const upgrading = install(lab, newer).finally(() => {
      upgraded = true;
    });
    while (!upgraded) {
      seen.client.add(await client.connect(SERVER, 22));
      seen.stranger.add(await client.connect(SERVER, 22, { from: STRANGER, timeout: 100 }));
    }
    await upgrading;
    t.same([...seen.client], ['open']);
    t.same([...seen.stranger], ['silent']);
    t.equal(await session.send('still here'), 'alive');
    t.match((await status(lab)).services.ssh?.clients, [{ address: CLIENT }]);
    t.not(await property(lab, 'MainPID'), before, 'the supervisor is the new one');
    for (const unit of ['knockd-nft', 'knockd-nft-load', 'knockd-nft-unload'])
      t.equal(await isActive(unit), 'active', unit);
    t.equal(configuration(), file);
  });

  await t.test('an upgrade does not start units that were stopped', async t => {
    await succeed(lab, 'systemctl', 'stop', 'knockd-nft');
    await install(lab, newer);
    t.equal(await isActive('knockd-nft'), 'inactive');
    t.equal(await isActive('knockd-nft-load'), 'active');
    await succeed(lab, 'systemctl', 'start', 'knockd-nft');
  });

  await t.test('removed, nothing is guarded; the file stays', async t => {
    t.match(await succeed(lab, 'dpkg', '--remove', 'knockd-nft'), 'nothing is guarded any more');
    t.equal(await client.connect(SERVER, 22, { from: STRANGER }), 'open');
    t.equal(await isActive('knockd-nft'), 'inactive');
    t.equal(await isActive('knockd-nft-load'), 'inactive');
    t.equal(await isActive('knockd-nft-unload'), 'inactive');
    t.not((await lab.run('systemctl', ['is-enabled', 'knockd-nft', 'knockd-nft-load'])).status, 0);
    t.ok(existsSync(lab.path(CONFIG)));
    t.notOk(existsSync(lab.path('/run/knockd-nft')));
  });

  await t.test('installed again, it guards again, also with a file that root alone could read', async t => {
    await succeed(lab, 'sh', '-c', `chown root:root ${CONFIG} && chmod 600 ${CONFIG}`);
    t.match(await install(lab, newer), /knockd-nft: OK: 1 service guarded/);
    t.equal((await succeed(lab, 'stat', '-c', '%a %U:%G', CONFIG)).trim(), '640 root:knockd-nft');
    t.equal(await isActive('knockd-nft'), 'active');
    t.equal(await client.connect(SERVER, 22, { from: STRANGER }), 'silent');
    t.equal(statSync(lab.path(CONFIG)).mode & 0o777, 0o640);
  });

  await t.test(
    'a file that the services cannot read is mended by load, or refused, and reported by doctor',
    async t => {
      await succeed(lab, 'sh', '-c', `chown root:root ${CONFIG} && chmod 600 ${CONFIG}`);
      const doctor = await lab.run('knockd-nft', ['doctor']);
      t.equal(doctor.status, 1);
      t.match(doctor.stdout, /^broken +\S+: user knockd-nft, which the services run as,/m);
      t.match((await lab.run('knockd-nft', ['check'])).stderr, 'warning: user knockd-nft');
      t.equal((await lab.run('knockd-nft', ['status', '--check'])).status, 1);
      const load = await lab.run('knockd-nft', ['load']);
      t.equal(load.status, 0, load.stderr);
      t.match(load.stderr, /its group may, now \(root:knockd-nft, 0640\)\n$/);
      const check = () => lab.run('knockd-nft', ['status', '--check']);
      const checked = await eventually(check, ({ status }) => status === 0); // the supervisor tries again
      t.equal(checked.status, 0, checked.stdout);
      t.notMatch((await lab.run('knockd-nft', ['doctor'])).stdout, 'cannot read');

      const [hidden, back] = [
        `mkdir -m 700 /root/secret && mv ${CONFIG} /root/secret && ln -s /root/secret/knockd-nft.json ${CONFIG}`,
        `rm ${CONFIG} && mv /root/secret/knockd-nft.json ${CONFIG} && rmdir /root/secret`,
      ];
      await succeed(lab, 'sh', '-c', hidden);
      const refused = await lab.run('knockd-nft', ['load']);
      t.equal(refused.status, 78);
      t.match(refused.stderr, /it may not enter \/root[^\n]*; nothing was changed\n$/);
      await succeed(lab, 'sh', '-c', back);
      await succeed(lab, 'systemctl', 'reload', 'knockd-nft');
    },
  );

  await t.test('a file with a secret that the services cannot read is mended and reported, too', async t => {
    const key = '/etc/laptop.key';
    const { ports } = ssh;
    writeFileSync(lab.path(key), 'a1'.repeat(32), { mode: 0o600 });
    write(lab, { services: { ssh: { ports, tokens: { laptop: { file: 'laptop.key' } } } } });
    const doctor = await lab.run('knockd-nft', ['doctor']);
    t.equal(doctor.status, 1);
    t.match(doctor.stdout, /^broken +\/etc\/laptop\.key: user knockd-nft, which the services run as,/m);
    t.match((await lab.run('knockd-nft', ['check'])).stderr, `${key}: warning: user knockd-nft`);
    const load = await lab.run('knockd-nft', ['load']);
    t.equal(load.status, 0, load.stderr);
    t.match(load.stderr, /^\/etc\/laptop\.key: .* its group may, now \(root:knockd-nft, 0640\)$/m);
    const said = () => property(lab, 'StatusText');
    t.match(await eventually(said, text => text.includes('is in force')), `${CONFIG} is in force`);
    t.notMatch((await lab.run('knockd-nft', ['doctor'])).stdout, 'cannot read');
    write(lab, { services: { ssh } });
    await succeed(lab, 'systemctl', 'reload', 'knockd-nft');
  });

  await t.test('removed under a file that is not valid, nothing is guarded either', async t => {
    write(lab, '{');
    await eventually(
      () => property(lab, 'StatusText'),
      text => text.includes('NOT'),
    );
    await succeed(lab, 'dpkg', '--remove', 'knockd-nft');
    t.equal(await client.connect(SERVER, 22, { from: STRANGER }), 'open');
  });

  await t.test(
    'removed while something is tried, nothing is guarded either, and nobody waits for it',
    async t => {
      write(lab, { services: { ssh } });
      await install(lab, newer);
      write(lab, { services: { ssh }, policy: 'drop' }, `${CONFIG}.new`);
      const unit = ['--quiet', '--collect', '--unit=login'];
      await succeed(lab, 'systemd-run', ...unit, 'knockd-nft', 'try', `${CONFIG}.new`, '--for', '1h');
      const timer = () => lab.run('systemctl', ['list-timers', '--all', '--no-legend', 'knockd-nft-undo-*']);
      t.match((await eventually(timer, ({ stdout }) => stdout !== '')).stdout, /knockd-nft-undo-/);
      await eventually(
        () => client.connect(SERVER, 9, { from: STRANGER }),
        answer => answer === 'silent',
      );
      await succeed(lab, 'dpkg', '--remove', 'knockd-nft');
      t.equal(await client.connect(SERVER, 22, { from: STRANGER }), 'open');
      t.notMatch(await succeed(lab, 'nft', 'list', 'ruleset'), /knockd/);
      t.equal((await timer()).stdout, '');
      t.notOk(existsSync(lab.path('/run/knockd-nft')));
    },
  );

  await t.test('purged, file and state are gone, with all copies', async t => {
    for (const name of [
      '.new',
      '.bak',
      '.bak2',
      '.new.bak',
      '.0123456789ab',
      '.new.0123456789ab.abcdef012345.tmp',
      '.12345.abcdef012345.tmp',
    ])
      write(lab, { services: { ssh } }, `${CONFIG}${name}`);
    await succeed(lab, 'dpkg', '--purge', 'knockd-nft');
    for (const path of [CONFIG, '/var/lib/knockd-nft', '/run/knockd-nft', '/usr/lib/knockd-nft'])
      t.notOk(existsSync(lab.path(path)), path);
    t.notMatch(await succeed(lab, 'find', '/etc', '-name', '*knockd-nft*'), /./);
  });
});

t.test('the Debian package in a container without CAP_NET_ADMIN', { skip: missing() }, async t => {
  const lab = await createLab(t, { without: 'net_admin' });
  await install(lab, await makePackage(lab, VERSION));
  for (const unit of ['knockd-nft-load.service', 'knockd-nft.service']) {
    t.equal(await property(lab, 'ActiveState', unit), 'failed', `${unit} is not started again and again`);
    t.equal(await property(lab, 'ExecMainStatus', unit), '77');
    await succeed(lab, 'journalctl', '--sync');
    const journal = await succeed(lab, 'journalctl', '--output=cat', '--unit', unit);
    t.match(journal, 'not permitted: this needs the capability CAP_NET_ADMIN');
  }
});
