/** The configuration: read, or refused with places in the file; and what is read is a ruleset that says what the file says. */
import { readFileSync } from 'node:fs';
import { decode } from '../../../src/config/file.ts';
import { readWritten, understand } from '../../../src/config/parse.ts';
import { ConfigError } from '../../../src/config/problems.ts';
import { scriptText } from '../../../src/nftables/text.ts';
import { compile, programOf } from '../../../src/ruleset/compile.ts';
import { differences } from '../../../src/ruleset/describe.ts';
import { ownerOf } from '../../../src/ruleset/names.ts';
import { decompile } from '../../../src/ruleset/program.ts';
import { readStatus } from '../../../src/ruleset/status.ts';

const secret = '3f'.repeat(32);
export const seeds = [
  readFileSync('config/knockd-nft.json'),
  '{"services":{"ssh":{"ports":[22],"sequence":[1000,2000,3000]}}}',
  `{"services":{"a":{"ports":["22-23/tcp","53/udp"],"sequences":{"x":[1,7,3],"y":[1,7,4,"9/udp"]},"openFor":"1m30s","singleUse":true},
"b":{"ports":[80],"tokens":{"x":"${secret}"}}},"policy":"drop","public":[8080],"allow":["192.0.2.0/24","2001:db8::/32"],
"interfaces":["eth0","wg*"],"hook":"prerouting","prefix":{"ipv6":64},"limits":{"clients":10},"closed":"reject",
"token":{"port":"5/udp","realm":"r","hours":2,"payload":["443/tcp"]},"log":{"refused":true,"group":5},"metrics":true,"strict":false}`,
];

export function fuzz(data: Buffer): void {
  try {
    const { config } = understand(readWritten(decode(data), 'FILE', []), {});
    const ruleset = compile(config, '1.0.0');
    scriptText(ruleset, set => ownerOf(set) === 'program');
    readStatus(ruleset, true);
    const changed = differences(decompile({ ...ruleset }), programOf(config));
    if (changed.length > 0) throw new Error(`it differs from itself: ${JSON.stringify(changed)}`);
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error;
    checkPlaces(error, data.toString());
  }
}

function checkPlaces({ problems }: ConfigError, text: string): void {
  if (problems[0]?.severity !== 'error') throw new Error('refused without an error');
  const lines = text.split(/\r\n|\r|\n/);
  for (const { line, column, message } of problems) {
    const length = line === null ? undefined : lines[line - 1]?.length;
    if (length === undefined || column === null || column < 1 || column > length + 1)
      throw new Error(`no such place: ${line}:${column}: ${message}`);
  }
}
