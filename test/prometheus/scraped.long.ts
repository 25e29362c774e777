/**
 * The samples of docs/examples with Debian's Prometheus and node_exporter, which take 100 MB: so by `npm run test:prometheus`, and
 * not by `npm test`.
 */
import { mkdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import t from 'tap';
import { lacking, run } from '../kernel/process.ts';
import { knocks, skip as noWorld, ssh, supervised, until } from '../supervisor/supervised.ts';

const skip = noWorld || lacking('prometheus', 'prometheus-node-exporter', 'promtool');
const RULES = 'docs/examples/knockd-nft.rules.yml';

interface Alert {
  readonly labels: { readonly alertname: string };
  readonly state: string;
}

t.test('Prometheus takes our rules', { skip }, async t => {
  const { status, stderr } = await run(['promtool', 'check', 'rules', RULES]);
  t.equal(status, 0, stderr);
});

t.test(
  'Prometheus scrapes node_exporter, that reads our file, and the alert fires when it should',
  { skip },
  async t => {
    const { world, supervisor, environment } = await supervised(t, { services: { ssh }, metrics: true });
    const folder = dirname(world.configFile);
    const textfiles = join(folder, 'textfiles');
    mkdirSync(textfiles);
    const metrics = join(environment.RUNTIME_DIRECTORY ?? '', 'metrics.prom');
    symlinkSync(metrics, join(textfiles, 'knockd-nft.prom')); // as the handbook has it
    const text = await until(
      async () => world.run('server', 'cat', [metrics]),
      ({ stdout }) => stdout !== '',
    );
    const linted = await run(['promtool', 'check', 'metrics'], { input: text.stdout });
    t.same([linted.status, linted.stderr], [0, ''], linted.stdout);

    world.start('server', 'prometheus-node-exporter', [
      '--collector.disable-defaults',
      '--collector.textfile',
      `--collector.textfile.directory=${textfiles}`,
      '--web.listen-address=127.0.0.1:9100',
    ]);
    // as they are, but for the times
    const rules = readFileSync(RULES, 'utf8')
      .replace(/for: \d+m/g, 'for: 2s')
      .replace('> 120', '> 20');
    writeFileSync(join(folder, 'rules.yml'), rules);
    const config = `global: { scrape_interval: 1s, evaluation_interval: 1s }
rule_files: [rules.yml]
scrape_configs: [{ job_name: node, static_configs: [{ targets: ['127.0.0.1:9100'] }] }]`;
    writeFileSync(join(folder, 'prometheus.yml'), config);
    const prometheus = world.start('server', 'prometheus', [
      `--config.file=${join(folder, 'prometheus.yml')}`,
      `--storage.tsdb.path=${join(folder, 'tsdb')}`,
      '--web.listen-address=127.0.0.1:9090',
    ]);
    await prometheus.line(/ready to receive web requests/);

    const ask = async (path: string) => {
      const script = `fetch('http://127.0.0.1:9090/api/v1/${path}').then(it => it.text()).then(console.log)`;
      return JSON.parse((await world.run('server', process.execPath, ['-e', script])).stdout).data;
    };
    const query = async (expression: string) =>
      (await ask(`query?query=${encodeURIComponent(expression)}`)).result.map(
        ({ value }: { readonly value: readonly [number, string] }) => value[1],
      ) as string[];
    const firing = async () =>
      ((await ask('alerts')).alerts as Alert[])
        .filter(({ state }) => state === 'firing')
        .map(({ labels }) => labels.alertname);
    const fires = (name: string) => until(firing, names => names.includes(name));

    await world.host('client').knock(world.server.ipv4, knocks);
    const opened = 'knockd_nft_openings_total{service="ssh"}';
    t.same(
      await until(
        () => query(opened),
        ([value]) => value === '1',
      ),
      ['1'],
    );
    t.same(await query('knockd_nft_in_sync'), ['1']);
    t.same(await firing(), [], 'all is well');

    const board = JSON.parse(readFileSync('docs/examples/knockd-nft.grafana.json', 'utf8'));
    for (const { title, targets } of board.panels)
      for (const { expr } of targets) {
        const asked = expr.replaceAll('$instance', '.*').replaceAll('$__rate_interval', '5m');
        const isTokens = /token/.test(expr);
        t.equal((await query(asked)).length > 0, !isTokens, `${title}: ${asked}`);
      }

    const quiet = () => until(firing, names => names.length === 0);
    world.write('{ "services": ');
    t.match(await fires('KnockdNotAsConfigured'), ['KnockdNotAsConfigured'], 'a file that cannot be used');
    world.write({ services: { ssh }, metrics: true });
    t.same(await quiet(), [], 'mended, it ends');
    await world.nft('delete table inet knockd; add table inet knockd');
    t.match(await fires('KnockdNotAsConfigured'), ['KnockdNotAsConfigured'], 'a table that we do not touch');
    await world.nft('delete table inet knockd');
    t.same(await quiet(), [], 'mended, it ends');

    await supervisor.stop();
    t.match(await fires('KnockdSupervisorGone'), ['KnockdSupervisorGone'], 'stopped');
    const next = world.startKnockd(['run'], environment);
    t.same(await quiet(), [], 'started again, it ends');
    await next.stop('SIGKILL');
    t.match(await fires('KnockdSupervisorGone'), ['KnockdSupervisorGone'], 'killed, and not started again');
  },
);
