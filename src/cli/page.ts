import { hostsPath } from '../client/folders.ts';
import { findHost, HOST, openToOthers, readHosts } from '../client/hosts.ts';
import { makePage, type PageSettings } from '../client/page.ts';
import { resolveHost } from '../client/resolve.ts';
import { formatMode, readBytes } from '../config/file.ts';
import { REALM } from '../config/names.ts';
import { SECRET } from '../config/secret.ts';
import { NAMING, type Naming } from '../config/shape.ts';
import { readPort } from '../inet/port.ts';
import { DEFAULT_REALM } from '../token/derive.ts';
import { DEFAULT_PORT } from '../token/packet.ts';
import { type Context, EXIT, UsageError } from './context.ts';
import { readTime } from './words.ts';

interface PageOptions {
  readonly host?: string | undefined;
  readonly service?: string | undefined;
  readonly realm?: string | undefined;
  readonly port?: string | undefined;
  readonly secretFile?: string | undefined;
  readonly url?: string | undefined;
  readonly openFor?: string | undefined;
}

/** `page`: prints the page that knocks, with the settings of one device in it, or without any. */
export async function pageCommand(context: Context, options: PageOptions): Promise<number> {
  const { host, ...more } = options;
  if (host === undefined && Object.values(more).some(value => value !== undefined))
    throw new UsageError('--host is missing: the host that the page is for, as in --host bastion');
  const settings =
    host === undefined ? null : await withAddress(context, readSettings(context, host, options));
  const html = makePage(settings).trimEnd();
  context.print(context.json ? JSON.stringify({ html }) : html.trimEnd().split('\n'));
  if (settings)
    context.tell(
      `the page holds the secret of ${settings.name}: keep it like a key, and give it only to its user`,
    );
  return EXIT.DONE;
}

/** Takes the host's address, since browsers send nothing to a name. */
async function withAddress({ tell }: Context, settings: PageSettings): Promise<PageSettings> {
  const [address = settings.host] = await resolveHost(settings.host);
  if (address !== settings.host)
    tell(
      `${settings.host} is ${address} now, and the page knocks on that address: make a new page when it changes`,
    );
  return { ...settings, host: address };
}

/** The settings of the options, else of the user's file of hosts. */
function readSettings(context: Context, name: string, options: PageOptions): PageSettings {
  checkName('--host', name, HOST);
  const path = hostsPath(context.env);
  const { host = name, token } = findHost(readHosts(path), name, undefined) ?? {};
  const secret = options.secretFile === undefined ? token?.secret : readSecret(options.secretFile);
  if (!secret)
    throw new UsageError(
      `no secret is known for ${name}: add it to ${path}, or name its file with --secret-file`,
    );
  const service = options.service ?? token?.service;
  if (service === undefined)
    throw new UsageError('--service is missing: the name of the service on the server, as in --service ssh');
  checkName('--service', service, NAMING);
  const realm = options.realm ?? token?.realm ?? DEFAULT_REALM;
  checkName('--realm', realm, REALM);
  const settings = {
    name,
    host,
    port: readUdpPort(options.port) ?? token?.port ?? DEFAULT_PORT,
    service,
    realm,
  };
  return {
    ...settings,
    secret: Buffer.from(secret).toString('hex'),
    ...(options.url !== undefined && { url: readUrl(options.url) }),
    ...(options.openFor !== undefined && { openFor: readTime('--open-for', options.openFor) / 1000 }),
  };
}

function checkName(option: string, word: string, { pattern, expected }: Naming): void {
  if (!pattern.test(word))
    throw new UsageError(`${option} ${JSON.stringify(word)} is wrong; expected ${expected}`);
}

/** As with hosts.json, no other user may read it. */
function readSecret(path: string): Uint8Array {
  const { stats, bytes } = readBytes(path, 'a file with a secret');
  if (openToOthers(stats))
    throw new UsageError(`others may read ${path} (mode ${formatMode(stats)}): chmod 600 ${path}`);
  const text = bytes.toString().trim();
  if (!SECRET.test(text))
    throw new UsageError(`there is no secret in ${path}; expected 64 hexadecimal digits`);
  return Buffer.from(text, 'hex');
}

function readUdpPort(word: string | undefined): number | undefined {
  if (word === undefined) return undefined;
  const port = readPort(/^\d+$/.test(word) ? `${word}/udp` : word);
  if (port.ok && port.value.protocol === 'udp') return port.value.port;
  throw new UsageError(`--port ${word} is no UDP port; expected a number from 1 to 65535`);
}

function readUrl(word: string): string {
  if (URL.canParse(word)) return word;
  throw new UsageError(`--url ${word} is no URL; expected one such as https://192.0.2.1/`);
}
