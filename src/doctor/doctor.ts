import { checkAppearance } from './appearance.ts';
import { checkConfiguration } from './configuration.ts';
import type { Facts } from './facts.ts';
import type { Checked } from './finding.ts';
import { checkGuarded } from './guarded.ts';
import { checkKernel } from './kernel.ts';
import { checkKnocks } from './knocks.ts';
import { checkOthers } from './others.ts';
import { crossings, surroundings } from './passage.ts';
import { checkService, checkTable } from './service.ts';
import { checkSettings } from './settings.ts';
import { checkTokens } from './tokens.ts';

/** All checks that these facts allow. */
export function examine(facts: Facts): Checked[] {
  const { config, kernel, host, file } = facts;
  const around = kernel.is === 'read' ? surroundings(host, kernel) : undefined;
  const found = config && around ? crossings(config, around) : [];
  return [
    checkConfiguration(facts),
    checkKernel(facts),
    ...(kernel.is === 'read' ? [checkTable(facts, kernel.table)] : []),
    checkService(facts),
    ...(config && around && kernel.is === 'read'
      ? [checkOthers(config, around, found, kernel.clients, file.path)]
      : []),
    ...(config ? [checkGuarded(config, host, around, found, file.path)] : []),
    ...(config ? [checkKnocks(config, host, around, file.path)] : []),
    ...(config && around ? [checkAppearance(config, around, file.path)] : []),
    ...(facts.tokens ? [checkTokens(facts)] : []),
    ...(config ? [checkSettings(config, host, kernel)] : []),
  ];
}
