import type { Config } from '../config/types.ts';
import type { Network } from '../inet/network.ts';
import type { Connection } from '../netlink/connection.ts';
import type { Trace } from '../nftables/trace.ts';
import { TRACE_TABLE } from '../ruleset/names.ts';
import { knocksOf } from './knocks.ts';
import { Rulebook, traceTable } from './rulebook.ts';
import { tracing } from './tracing.ts';
import { type Meaning, type Met, meaningOf, type Trail, verdictOf } from './trail.ts';

/** A packet that is still on its way. */
interface Going {
  readonly meaning: Meaning;
  readonly input: number | undefined;
  readonly met: Met[];
}

/** Yields the way of each new packet of an address, when that has ended, in the order of arrival. */
export async function* attempt(
  connection: Connection,
  config: Config,
  { address, milliseconds, signal }: { address: Network; milliseconds: number; signal: AbortSignal },
): AsyncGenerator<Trail> {
  const rulebook = new Rulebook(connection);
  const secret = new Set(knocksOf(config).map(({ port }) => String(port)));
  /** Hides the ports of knocks, which another program's rule may name. */
  const hidden = (text: string) => text.replace(/\b\d+\b/g, it => (secret.has(it) ? '(a knock)' : it));
  const going = new Map<number, Going>();
  for await (const traces of tracing(connection, address, milliseconds, signal)) {
    if (traces.length === 0) {
      yield* going.values();
      going.clear();
    }
    for (const trace of traces) {
      if (trace.table === TRACE_TABLE) {
        if (!trace.packet) continue; // the end of our own chain
        const before = going.get(trace.id);
        if (before) yield before;
        going.delete(trace.id);
        going.set(trace.id, {
          meaning: meaningOf(trace.packet, config),
          input: trace.packet.input,
          met: [],
        });
      } else if (trace.by !== 'return') {
        going.get(trace.id)?.met.push(...(await met(trace, rulebook, hidden)));
      }
    }
  }
  yield* going.values();
}

/** The rules that the packet met. Our own rules that only record something do not count. */
async function met(
  trace: Trace,
  rulebook: Rulebook,
  hidden: (text: string) => string,
): Promise<readonly Met[]> {
  const { by, chain, verdict } = trace;
  const where = { table: traceTable(trace), chain, ours: await rulebook.isOurs(trace) };
  if (typeof by === 'string') return [{ ...where, rule: by, verdict: verdictOf(trace, false) }];
  if (where.ours && verdict === 'continue') return [];
  const { text, rejects = false } = (await rulebook.find(trace, by.rule)) ?? {};
  const unclear = text === undefined || text.includes('# ');
  const rule = `${hidden(text ?? 'a rule that is gone')}${unclear ? ` (handle ${by.rule})` : ''}`;
  return [{ ...where, rule, verdict: verdictOf(trace, rejects) }];
}
