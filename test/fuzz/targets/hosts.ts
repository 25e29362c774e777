/** The client's hosts.json: read, or refused with a reason. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { findHost, readHosts } from '../../../src/client/hosts.ts';
import { ConfigError } from '../../../src/config/problems.ts';

const folder = mkdtempSync(join(tmpdir(), 'knockd-nft-fuzz-'));
process.once('exit', () => rmSync(folder, { recursive: true, force: true }));
const path = join(folder, 'hosts.json');

export const seeds = [
  '{"bastion":{"host":"192.0.2.1","knocks":[10000,"2345/udp"],"port":22,"gap":"200ms"}}',
  `{"a":{"token":{"secret":"${'3f'.repeat(32)}","service":"ssh","realm":"default","port":"62201/udp","payload":["80/tcp"]}},}`,
];

export function fuzz(data: Buffer): void {
  writeFileSync(path, data, { mode: 0o600 });
  try {
    const hosts = readHosts(path);
    for (const { name, host, port } of hosts)
      for (const word of [name, host])
        if (!findHost(hosts, word, port)) throw new Error(`${JSON.stringify(word)} is not found`);
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error;
    if (error.problems[0]?.severity !== 'error') throw new Error('refused without an error');
  }
}
