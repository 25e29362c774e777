import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import t from 'tap';
import { holdText, readHold } from '../../src/host/hold.ts';

t.test('a hold counts if it makes sense, and then it can be told', t => {
  const folder = mkdtempSync(join(tmpdir(), 'knockd-nft-test-'));
  t.teardown(() => rmSync(folder, { recursive: true }));
  const env = { RUNTIME_DIRECTORY: folder };
  for (const text of [
    '',
    'null',
    '5',
    '{}',
    '{"reason":5}',
    '{"reason":"x","until":1}',
    '{"reason":"x","until":1e300}',
  ]) {
    writeFileSync(join(folder, 'hold'), text);
    t.equal(readHold(env), undefined, text);
  }
  writeFileSync(join(folder, 'hold'), '{"reason":"trying","until":4000000000000}');
  const hold = readHold(env);
  t.equal(hold && holdText(hold), 'trying, until 2096-10-02T07:06:40.000Z');
  t.end();
});
