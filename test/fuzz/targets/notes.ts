/** Notes that outlive a process, and what the supervisor tells: whatever they say, they are read, or count as not there. */
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { serialize } from 'node:v8';
import { UsedFile } from '../../../src/client/used.ts';
import { readEvent } from '../../../src/events/follow.ts';
import { readBook } from '../../../src/feeder/book.ts';
import { planFeed, settle } from '../../../src/feeder/feed-plan.ts';
import { stamped, withoutFresh } from '../../../src/feeder/ledger.ts';
import { announceSupervisor, holdText, readHold, readTroubles } from '../../../src/host/hold.ts';
import { START } from '../../../src/ruleset/automaton.ts';
import { TrialError } from '../../../src/table/errors.ts';
import { withoutRevoked } from '../../../src/table/revocations.ts';
import { readTrial } from '../../../src/trial/notes.ts';

const folder = mkdtempSync(join(tmpdir(), 'knockd-nft-fuzz-'));
process.once('exit', () => rmSync(folder, { recursive: true, force: true }));
const env = {
  RUNTIME_DIRECTORY: join(folder, 'run'),
  STATE_DIRECTORY: join(folder, 'state'),
  XDG_STATE_HOME: join(folder, 'home'),
};
for (const path of [env.RUNTIME_DIRECTORY, env.STATE_DIRECTORY, join(env.XDG_STATE_HOME, 'knockd-nft')])
  mkdirSync(path, { recursive: true });
announceSupervisor(env, 'FILE'); // whose troubles are read

const secret = Buffer.alloc(32, 0x3f);
const key = { secret, realm: 'default', service: 'ssh' };
const used = new UsedFile(env, key);
const users = [{ ...key, place: START, user: 'phone', does: 'open' }] as const;
const now = 1_795_000_000_000;
const DAY = 24 * 60 * 60 * 1000;
/** The window of that moment. */
const HERE = Math.floor(now / 60_000);
const moment = { machine: 'm', boot: 'b', now, monotonic: 5000, booted: now - 60_000 };
const client = {
  service: 'ssh',
  family: 'ipv4',
  key: Buffer.from([192, 0, 2, 7]),
  place: null,
  timeout: null,
  until: null,
  granted: false,
} as const;

function ledger(): void {
  const { ledger: read } = readBook(env);
  // all windows from then until now would be gone through
  if (!read || Math.abs(read.time - now) > DAY || Math.abs((read.fed?.until ?? HERE) - HERE) > 24 * 60)
    return;
  const settled = settle(read, {
    moment,
    watched: false,
    missing: undefined,
    used: ['00'.repeat(16)],
  }).ledger;
  withoutFresh(settled, users);
  const options = { realm: 'default', hours: 1, table: '1', known: true, complete: true, id: '00', moment };
  const { ready, ...plan } = planFeed(settled, users, options);
  [...ready].slice(0, 3);
  JSON.stringify(stamped({ ...settled, fed: plan.fed }, moment));
}

const inRun = (name: string) => join(env.RUNTIME_DIRECTORY, name);
/** By the first byte of an input. */
const NOTES: readonly { readonly path: string; readonly read: (text: string) => unknown }[] = [
  { path: join(env.STATE_DIRECTORY, 'tokens.json'), read: ledger },
  {
    path: inRun('hold'),
    read: () => {
      const hold = readHold(env);
      return hold && holdText(hold);
    },
  },
  { path: inRun('revoked'), read: () => withoutRevoked(env, [client], 0) },
  { path: inRun('trial'), read: () => readTrial(env) },
  { path: used.path, read: () => used.read() },
  { path: inRun('trouble'), read: () => readTroubles(env) },
  { path: inRun('event'), read: text => readEvent(text) },
];

const note = (index: number, content: string | Buffer) =>
  Buffer.concat([Buffer.from([index]), Buffer.from(content)]);
export const seeds = [
  note(
    0,
    JSON.stringify({
      machine: 'm',
      time: now,
      offset: now - 5000,
      clean: false,
      floor: 5,
      used: { '00000001': [29916666, 29916667] },
      nobodys: ['11'.repeat(16)],
      fed: {
        table: '1',
        id: '00',
        until: 29916700,
        users: { '00000001': { user: 'phone', secret: '3f'.repeat(32), realm: 'default', service: 'ssh' } },
      },
      fresh: { boot: 'b', keys: [] },
    }),
  ),
  note(1, '{"reason":"trying FILE","until":4000000000000}'),
  note(2, '{"at":1,"services":["ssh"],"client":{"family":"ipv4","key":"c0000207","length":32}}\n{"at":2}\n'),
  note(3, Buffer.concat([Buffer.alloc(64, 0x30), serialize({ version: 1, until: now, former: null })])),
  note(4, '{"window":29916666,"way":"udp","address":"192.0.2.1"}'),
  note(5, '[{"what":"x","since":5}]'),
  note(6, '{"event":"snapshot","time":1,"clients":[]}'),
  note(6, '{"event":"opened","service":"ssh"}'),
];

export function fuzz(data: Buffer): void {
  const { path, read } = NOTES[(data[0] ?? 0) % NOTES.length] ?? {};
  if (!path || !read) return;
  writeFileSync(path, data.subarray(1), { mode: 0o600 });
  try {
    read(data.toString('utf8', 1));
  } catch (error) {
    if (!(error instanceof TrialError)) throw error;
  }
}
