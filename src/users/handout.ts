import { isIP } from 'node:net';
import { TOKEN_DEFAULTS } from '../config/keys.ts';
import type { Config, Service } from '../config/types.ts';
import { formatPort, type Port, writtenPort } from '../inet/port.ts';

/** Stands for the name or address by which clients reach this server, as long as nobody has said it. */
export const UNNAMED = 'HOST';

/** The data with which one device gets into one service. */
export interface Handout {
  /** The clients' name for this server, or its address, or {@link UNNAMED}. */
  readonly host: string;
  /** The name in the client's hosts.json: the host's name for one service, the service's own name for the others. */
  readonly entry: string;
  readonly service: string;
  readonly user: string;
  /** The first TCP port of the service. */
  readonly port: number | undefined;
  /** How long an opening lasts, in milliseconds. */
  readonly openFor: number;
  readonly realm: string;
  readonly tokenPort: Port;
  readonly payload: readonly Port[];
  /** 64 hexadecimal digits; undefined for a user without tokens. */
  readonly secret: string | undefined;
  /** Empty for a user without a sequence. */
  readonly knocks: readonly Port[];
}

export function handoutOf(
  { token, services }: Config,
  service: Service,
  user: string,
  host: string,
): Handout {
  const first = services.find(({ name }) => name === 'ssh') ?? services[0]; // ssh knocks by the name that it connects to
  const secret = service.tokens.find(it => it.user === user)?.secret;
  return {
    host,
    entry: service.name === first?.name ? host : service.name,
    service: service.name,
    user,
    port: service.ports.find(({ protocol }) => protocol === 'tcp')?.first,
    openFor: service.openFor,
    realm: token.realm,
    tokenPort: token.port,
    payload: token.payload,
    secret: secret && Buffer.from(secret).toString('hex'),
    knocks: service.sequences.find(it => it.user === user)?.knocks ?? [],
  };
}

/** The entry in the client's hosts.json, as a value. It leaves defaults out. */
export function hostsEntry(handout: Handout) {
  const { host, entry, service, port, realm, tokenPort, payload, secret, knocks } = handout;
  const usual = { realm: TOKEN_DEFAULTS.realm, port: TOKEN_DEFAULTS.port };
  const token = secret !== undefined && {
    secret,
    service,
    ...(realm !== usual.realm && { realm }),
    ...(formatPort(tokenPort) !== usual.port && { port: tokenPort.port }),
    ...(payload.length > 0 && { payload: payload.map(it => it.port) }),
  };
  return {
    [entry]: {
      ...(entry !== host && { host }),
      ...(token ? { token } : { knocks: knocks.map(writtenPort) }),
      ...(port !== undefined && { port }),
    },
  };
}

/** One line of JSON with spaces, as people write it. */
export function hostsLine(...handouts: readonly Handout[]): string {
  return JSON.stringify(Object.assign({}, ...handouts.map(hostsEntry)), null, 1)
    .replaceAll(/\n\s*/g, ' ')
    .replaceAll('[ ', '[')
    .replaceAll(' ]', ']');
}

/**
 * The part after `#` in the address of the page that knocks. Browsers do not send it to the web server. `address` is the
 * server's, since browsers cannot knock on a name.
 */
export function pageFragment(handout: Handout, address: string): string {
  const { host, service, openFor, realm, tokenPort, secret = '' } = handout;
  const words = new URLSearchParams({ host: address, service, secret });
  if (realm !== TOKEN_DEFAULTS.realm) words.set('realm', realm);
  if (formatPort(tokenPort) !== TOKEN_DEFAULTS.port) words.set('port', String(tokenPort.port));
  words.set('openFor', String(openFor / 1000));
  if (host !== address) words.set('name', host);
  return `#${words}`;
}

/** The call of docs/clients/knock.bash for this device. FILE holds the secret. */
export function bashCommand({ host, realm, service, tokenPort }: Handout): string {
  const port = formatPort(tokenPort) === TOKEN_DEFAULTS.port ? '' : ` ${tokenPort.port}`;
  return `bash knock.bash ${host} ${realm} ${service} FILE${port}`;
}

/** Whether a host is an address already. Browsers need one. */
export function isAddress(host: string): boolean {
  return isIP(host) !== 0;
}
