/** How systemd/knockd-nft.service starts the supervisor: what its memory depends on. */
import { readFileSync } from 'node:fs';

const unit = readFileSync('systemd/knockd-nft.service', 'utf8');

/** Of Node.js. */
export const flags: readonly string[] =
  /^ExecStart=\/usr\/lib\/knockd-nft\/bin\/node ((?:--\S+ )+)/m.exec(unit)?.[1]?.trim().split(' ') ?? [];

/** Of malloc. */
export const environment: Readonly<Record<string, string>> = Object.fromEntries(
  (/^Environment=(MALLOC_.*)$/m.exec(unit)?.[1]?.split(' ') ?? []).map(setting => setting.split('=')),
);
