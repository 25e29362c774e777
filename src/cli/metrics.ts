import { configPath } from '../config/read.ts';
import { readSnapshot } from '../events/follow.ts';
import { withKernel } from '../host/access.ts';
import { eventsPath, readHold, readTroubles, runningSupervisor } from '../host/hold.ts';
import { countedOf, type Sample } from '../metrics/sample.ts';
import { metricsText } from '../metrics/text.ts';
import { knockers } from '../ruleset/status-text.ts';
import { observe } from '../table/observe.ts';
import { VERSION } from '../version.ts';
import { readUsable } from '../watch/wanted.ts';
import { type Context, EXIT } from './context.ts';
import { tokenStatus } from './token-status.ts';

/** `metrics`: all figures, as OpenMetrics. */
export async function metricsCommand({ config: file, env, json, print, tell }: Context): Promise<number> {
  const config = (await readUsable(configPath(file, env), env, tell))?.config;
  const { status, loaded } = await withKernel(({ connection }) => observe(connection, config));
  const counters = new Map(loaded?.counters.map(({ name, packets }) => [name, packets]));
  const { services, tokens, wrongKnocks } = countedOf(counters, Object.keys(status.services));
  const standing = config && loaded && tokenStatus(config, counters, env);
  const supervisor = runningSupervisor(env) !== undefined;
  const sample: Sample = {
    version: VERSION,
    supervisor,
    loaded: status.loaded,
    inSync: status.inSync ?? undefined,
    held: readHold(env) !== undefined,
    troubles: readTroubles(env).length,
    services: services.map(it => ({ ...it, clients: status.services[it.name]?.clients.length })),
    knocking: knockers(status).length,
    wrongKnocks,
    tokens: standing && {
      ...tokens,
      until: standing.until === null ? undefined : Date.parse(standing.until),
    },
    lostEvents: supervisor ? (await readSnapshot(eventsPath(env)))?.lost : undefined,
  };
  print(json ? jsonText(sample, standing?.until) : metricsText(sample, 'openmetrics').trimEnd().split('\n'));
  return EXIT.DONE;
}

/** All keys, null for what is not known here. The end of the tokens is written as `status --json` writes it. */
function jsonText({ tokens, ...sample }: Sample, until: string | null | undefined): string {
  const known = { ...sample, tokens: tokens && { ...tokens, until } };
  return JSON.stringify(known, (_, value: unknown) => value ?? null);
}
