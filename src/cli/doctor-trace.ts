import { configPath } from '../config/read.ts';
import { quote } from '../config/report.ts';
import { attempt } from '../doctor/attempt.ts';
import { conclude, type Met, stopOf, type Trail } from '../doctor/trail.ts';
import { withConnection, withKernel } from '../host/access.ts';
import { readAnswering } from '../host/answering.ts';
import { formatAddress, isNoHost } from '../inet/address.ts';
import type { Span } from '../inet/duration.ts';
import { type Network, readNetwork } from '../inet/network.ts';
import { interfaceName } from '../netlink/route.ts';
import { NETLINK_ROUTE } from '../netlink/socket.ts';
import { painter } from '../terminal/paint.ts';
import { type Context, EXIT, UsageError } from './context.ts';
import { readTime } from './words.ts';

const SPAN: Span = {
  shortest: 1000,
  longest: 60 * 60_000,
  expected: 'seconds as a number, or a duration such as "30s" or "5m", from 1 s to 1 h',
};

/** The most packets to trace. A client that knocks sends a handful. */
const MOST = 500;

/** `doctor --trace ADDRESS`: follows a client's packets while it knocks and connects. Status 0 if it got in. */
export async function doctorTraceCommand(context: Context, word: string, time = '30s'): Promise<number> {
  const { config, env, json, print, tell } = context;
  const address = readAddress(word);
  const name = formatAddress(address.address);
  const milliseconds = readTime('--for', time, SPAN);
  const { config: read } = await readAnswering(configPath(config, env), env);
  const paint = painter(env);
  const ended = new AbortController();
  const end = () => ended.abort();
  process.once('SIGINT', end).once('SIGTERM', end);
  process.stdout.once('error', end); // nobody reads on
  const events = new Set(read.services.filter(({ ports }) => ports.length === 0).map(({ name }) => name));
  const trails: Trail[] = [];
  await withKernel(async ({ connection }) => {
    const options = { address, milliseconds, signal: ended.signal };
    tell(`tracing new packets of ${name} for ${time}: knock and connect from there now`);
    for await (const trail of attempt(connection, read, options)) {
      trails.push(trail);
      const way = await nameOf(trail.input);
      if (json) print(JSON.stringify(trailValue(trail, way)));
      else {
        print(paint('bold', `${what(trail)}${way === undefined ? '' : `, by ${way}`}`));
        for (const met of trail.met) print(`  ${paint(colour(met), metText(met))}`);
      }
      if (trails.length === MOST) tell(`${MOST} packets came, which is enough`);
      if (trails.length >= MOST || conclude(name, [trail], events).in) ended.abort();
    }
  });
  const conclusion = conclude(name, trails, events);
  print(json ? JSON.stringify({ address: name, ...conclusion }) : conclusion.sentence);
  return conclusion.in ? EXIT.DONE : EXIT.FAILED;
}

function readAddress(word: string): Network {
  const outcome = readNetwork(word);
  if (!outcome.ok)
    throw new UsageError(
      `${quote(word)} ${outcome.wrong}: expected the address of one client, such as "192.0.2.7" or "2001:db8::7"`,
    );
  if (word.includes('/'))
    throw new UsageError(`${quote(word)} is a network: expected the address of one client`);
  if (isNoHost(outcome.value.address))
    throw new UsageError(`${quote(word)} is no host's address: expected that of one client`);
  return outcome.value;
}

/** Of an interface, by its index. */
function nameOf(index: number | undefined): Promise<string | undefined> | undefined {
  return index === undefined
    ? undefined
    : withConnection(NETLINK_ROUTE, routes => interfaceName(routes, index));
}

function what({ meaning }: Trail): string {
  return meaning.is === 'knock' ? meaning.where : meaning.to;
}

function trailValue(trail: Trail, way: string | undefined): object {
  return {
    packet: what(trail),
    is: trail.meaning.is,
    interface: way ?? null,
    met: trail.met.map(({ table, chain, rule, verdict }) => ({ table, chain, rule, verdict })),
    stopped: stopOf(trail) !== undefined,
  };
}

/** `inet filter, input: tcp dport 22 drop`; the verdict stands at the end if the rule does not say it. */
function metText({ table, chain, rule, verdict }: Met): string {
  const said = rule === verdict || rule.endsWith(` ${verdict}`) || verdict === 'continue';
  return `${table}, ${chain}: ${rule}${said || rule.includes(' reject') ? '' : ` -> ${verdict}`}`;
}

function colour({ verdict }: Met): 'red' | 'green' | 'dim' {
  if (verdict === 'drop' || verdict === 'reject') return 'red';
  return verdict === 'accept' ? 'green' : 'dim';
}
