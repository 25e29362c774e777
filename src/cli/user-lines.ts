import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import { writtenPort } from '../inet/port.ts';
import { isTerminal, painter } from '../terminal/paint.ts';
import { qrLines } from '../terminal/qr.ts';
import {
  bashCommand,
  type Handout,
  hostsEntry,
  hostsLine,
  isAddress,
  pageFragment,
  UNNAMED,
} from '../users/handout.ts';

/** All that the client needs, for `--json`. */
export async function handoutValue(handout: Handout, page: string | undefined) {
  const fragment = await fragmentOf(handout);
  return {
    hosts: hostsEntry(handout),
    ...(fragment !== undefined && page !== undefined && { link: linkTo(page, fragment) }),
    ...(handout.secret !== undefined && { command: bashCommand(handout) }),
  };
}

/** The same for people. */
export async function handoutLines(
  handout: Handout,
  { page, qr }: { readonly page?: string; readonly qr?: boolean },
  env: NodeJS.ProcessEnv,
): Promise<string[]> {
  const { secret, knocks, host, port } = handout;
  const wait = port === undefined ? '' : ` --wait ${port}`;
  const lines = [
    '',
    'For ~/.config/knockd-nft/hosts.json, which no other user may read (chmod 600):',
    `  ${hostsLine(handout)}`,
  ];
  if (knocks.length > 0)
    lines.push('By hand:', `  knockd-nft knock ${host} ${knocks.map(writtenPort).join(' ')}${wait}`);
  if (secret === undefined) return lines;
  lines.push(
    'With bash alone (docs/clients/knock.bash; FILE holds the 64 digits of the secret, chmod 600):',
    `  ${bashCommand(handout)}`,
  );
  const fragment = await fragmentOf(handout);
  if (fragment === undefined)
    return [
      ...lines,
      `For a phone: a browser needs an address, and ${host} has none here; give one with --host ADDRESS.`,
    ];
  if (page === undefined)
    return [
      ...lines,
      'For a phone, behind the address of the page that "knockd-nft page" makes (--page URL makes a QR code of it):',
      `  ${fragment}`,
    ];
  const link = linkTo(page, fragment);
  lines.push('For a phone:', `  ${link}`);
  return (qr ?? isTerminal(env)) ? [...lines, '', ...qrLines(link, painter(env))] : lines;
}

function linkTo(page: string, fragment: string): string {
  return `${page.split('#')[0]}${fragment}`;
}

const execute = promisify(execFile);
/** How long a look-up may take, in milliseconds. A name server may not answer, and only the link for a phone waits for it. */
const PATIENCE = 2000;

/** Undefined if the host has no address that others could send to, or if there is no secret. */
async function fragmentOf(handout: Handout): Promise<string | undefined> {
  const { host, secret } = handout;
  if (secret === undefined || host === UNNAMED) return undefined;
  if (isAddress(host)) return pageFragment(handout, host);
  const address = (await addressesOf(host)).find(it => !/^(127\.|::1$)/.test(it)); // a host calls itself 127.0.1.1
  return address === undefined ? undefined : pageFragment(handout, address);
}

/** As the system gives them: getent(1) does, and can be ended, while getaddrinfo(3) in this process could not. */
async function addressesOf(host: string): Promise<readonly string[]> {
  try {
    const { stdout } = await execute('getent', ['ahosts', host], { timeout: PATIENCE });
    return stdout.split('\n').flatMap(line => line.split(/\s/, 1).filter(isAddress));
  } catch {
    return [];
  }
}
