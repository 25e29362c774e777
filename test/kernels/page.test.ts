/** The page of kernels says what was seen, and no more. */
import t from 'tap';
import type { Check } from './guest.ts';
import { page, type Report } from './page.ts';

const tools = { program: '1.0.0', node: '20.20.2', nft: '1.0.6', qemu: '7.2.22' };
const visited = (release: string, checks: readonly Check[], broken?: string): Report => ({
  ...{ is: 'visited', name: release, debian: '13', date: '2026-11-27', release, version: '1', tools },
  visit: { versions: { node: '20.20.2', nft: '1.0.6' }, checks, broken, took: 300 },
});
const check = (name: string, is: Check['is'], why = ''): Check => ({ name, is, why });

t.test('each check of each kernel is passed, failed, skipped with its reason, or not reached', async t => {
  const text = page([
    visited('5.10.0-46-cloud-amd64', [check('one', 'passed'), check('two', 'skipped', 'since Linux 5.16')]),
    visited('6.12.118+deb13', [check('one', 'failed', 'a reason | of two lines'), check('two', 'passed')]),
    visited('6.12.118+deb13-cloud-arm64', [check('one', 'passed'), check('two', 'passed')]),
    visited('7.3.4', [check('one', 'passed')], 'it did not end within 590 s'),
  ]);
  t.match(text, '| check | 5.10.0 | 6.12.118 | 6.12.118 arm64 | 7.3.4 |');
  t.match(text, '| one | ✓ | failed | ✓ | ✓ |');
  t.match(text, '| two | – (1) | ✓ | ✓ | not reached |');
  t.match(text, '\n(1) since Linux 5.16\n');
  t.match(text, '| 7.3.4 | 13 | 1 | 2026-11-27 | 300 s, not to the end | 1 | 0 | 0 |');
});

t.test('a kernel that could not be had is there with the reason', async t => {
  const report = { is: 'skipped', name: '6.1', debian: '12', date: '2026-11-27', why: 'no network' } as const;
  t.match(page([report]), '| 6.1 | 12 | skipped: no network | 2026-11-27 |');
});
