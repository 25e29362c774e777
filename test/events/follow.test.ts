import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import t from 'tap';
import { followEvents } from '../../src/events/follow.ts';

t.test('a line that makes no sense is passed over, and the connection goes on', async t => {
  const folder = mkdtempSync(join(tmpdir(), 'knockd-nft-test-'));
  const path = join(folder, 'events');
  const lines = [
    '{"event":"snapshot"}',
    'null',
    '5',
    '{',
    '',
    '{"event":"unheard-of"}',
    '{"event":5}',
    '{"event":"opened"}',
  ];
  const server = createServer(reader => reader.write(`${lines.join('\n')}\n`)).listen(path);
  t.teardown(() => {
    server.close();
    rmSync(folder, { recursive: true });
  });
  await once(server, 'listening');
  const stop = new AbortController();
  const seen: string[] = [];
  for await (const message of followEvents(path, stop.signal)) {
    seen.push(message.is);
    if (message.is !== 'connected') stop.abort();
  }
  t.strictSame(seen, ['connected', 'told']);
});
