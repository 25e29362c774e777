/**
 * The checks of a guest's kernel, with real packets: tests for node's own runner, since nothing else has to be started
 * there.
 */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { test } from 'node:test';
import './lacking.ts';
import './loading.ts';
import './crowded.ts';
import './supervising.ts';
import './tokens.ts';
import './sleeping.ts';

test('kernel: no warning in its log', () => {
  const lines = spawnSync('dmesg', { encoding: 'utf8' }).stdout.split('\n');
  const warnings = lines.filter(line => /WARNING:|BUG:|Oops|Call Trace|rcu_sched/.test(line));
  assert.deepEqual(warnings, []);
});
