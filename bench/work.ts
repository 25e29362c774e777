import { readdirSync, readFileSync } from 'node:fs';

/** Of all threads: seconds of CPU, and how often one waited for something. */
export function work(pid: number): { readonly seconds: number; readonly waits: number } {
  const threads = readdirSync(`/proc/${pid}/task`).map(thread => `/proc/${pid}/task/${thread}`);
  return {
    seconds: threads.reduce(
      (sum, thread) => sum + Number(readFileSync(`${thread}/schedstat`, 'utf8').split(' ')[0]) / 1e9,
      0,
    ),
    waits: threads.reduce(
      (sum, thread) =>
        sum +
        Number(/^voluntary_ctxt_switches:\s+(\d+)/m.exec(readFileSync(`${thread}/status`, 'utf8'))?.[1]),
      0,
    ),
  };
}
