// users/ adds and removes users in the text of the file, and lists what a new user needs.
// It keeps the file's comments and format, and leaves the kernel to the load.
// Floor 6: it imports only from rooms on lower floors.

import { findValue, type Path, withMember, withoutMember, withValue } from '../config/edit.ts';
import { secretPath } from '../config/secrets.ts';
import type { Config, Service } from '../config/types.ts';
import { type Port, writtenPort } from '../inet/port.ts';

/** The change of users was not made. The message says why, and what to do. */
export class UserError extends Error {
  override readonly name = 'UserError';
}

/** A user of a service, by their names. Both exist, or are going to. */
interface Named {
  readonly service: string;
  readonly user: string;
}

/** Makes new secrets and sequences. */
export interface New {
  /** 32 random bytes. */
  readonly secret: () => Uint8Array;
  /** Random knocks that collide with nothing. */
  readonly sequence: () => readonly Port[];
}

/** A change that is ready to be written. */
export interface Changed {
  /** The new text of the configuration. */
  readonly text: string;
  /** Secrets to be written to files of their own, and the other users whose secret is in the same file. */
  readonly files: readonly {
    readonly path: string;
    readonly secret: Uint8Array;
    readonly shared: readonly Named[];
  }[];
  /** New secrets. None of their tokens can have been used. */
  readonly fresh: readonly Uint8Array[];
  /** Files that hold nothing of use any more. */
  readonly left: readonly string[];
}

/** The service of that name. Throws {@link UserError} if there is none. */
function findService({ services }: Config, name: string): Service {
  const service = services.find(it => it.name === name);
  if (service) return service;
  const names = services.map(it => it.name).join(', ');
  throw new UserError(
    names === ''
      ? 'the configuration has no service: add one first'
      : `there is no service ${name}; there is ${names}`,
  );
}

/** Adds a user who gets in by tokens, or by a sequence of their own. */
export function addUser(
  text: string,
  config: Config,
  named: Named,
  kind: 'token' | 'sequence',
  make: New,
): Changed {
  const service = findService(config, named.service);
  const { user } = named;
  if (isUser(service, user))
    throw new UserError(
      `${service.name} has a user ${user} already: "knockd-nft user rotate ${service.name} ${user}" gives a new secret, "show" prints the one that is there`,
    );
  if (kind === 'token') {
    const secret = make.secret();
    return { ...NOTHING, text: withUser(text, service.name, 'tokens', user, hex(secret)), fresh: [secret] };
  }
  if (service.sequences.some(it => it.user === null))
    throw new UserError(
      `${service.name} has one "sequence" for all: replace it by "sequences": { "NAME": [..] } with a user's name first; or leave out --sequence, since tokens may be added to it`,
    );
  return { ...NOTHING, text: withUser(text, service.name, 'sequences', user, knocksText(make.sequence())) };
}

/** Gives a user a new secret or a new sequence, or both to a user who has both. */
export function rotateUser(text: string, config: Config, named: Named, file: string, make: New): Changed {
  const { name, tokens, sequences } = findService(config, named.service);
  const { user } = named;
  let changed: Changed = { ...NOTHING, text };
  if (tokens.some(it => it.user === user)) {
    const secret = make.secret();
    const path = tokenPath(name, user);
    const own = secretFile(text, path, file);
    changed =
      own === undefined
        ? { ...changed, text: withValue(text, path, hex(secret)), fresh: [secret] }
        : {
            ...changed,
            files: [{ path: own, secret, shared: sharing(text, config, named, own, file) }],
            fresh: [secret],
          };
  }
  if (sequences.some(it => it.user === user))
    changed = {
      ...changed,
      text: withValue(changed.text, ['services', name, 'sequences', user], knocksText(make.sequence())),
    };
  else if (changed.fresh.length === 0) throw noUser(config, named);
  return changed;
}

/** Removes a user's secret and sequence. */
export function removeUser(text: string, config: Config, named: Named, file: string): Changed {
  const service = findService(config, named.service);
  const { user } = named;
  if (!isUser(service, user)) throw noUser(config, named);
  const others = [...service.tokens, ...service.sequences].filter(it => it.user !== user);
  if (others.length === 0)
    throw new UserError(
      `${user} is the only way into ${service.name}: add another user first, or remove the whole service from the file`,
    );
  const own = secretFile(text, tokenPath(service.name, user), file);
  const kinds = (['tokens', 'sequences'] as const).filter(kind => service[kind].some(it => it.user === user));
  const without = kinds.reduce((text, kind) => {
    const isLast = service[kind].length === 1;
    return withoutMember(text, ['services', service.name, kind, ...(isLast ? [] : [user])]);
  }, text);
  const isLeft = own !== undefined && sharing(text, config, named, own, file).length === 0;
  return { ...NOTHING, text: without, left: isLeft ? [own] : [] };
}

/** The service of that name. Throws {@link UserError} if it has no such user. */
export function requireUser(config: Config, named: Named): Service {
  const service = findService(config, named.service);
  if (!isUser(service, named.user)) throw noUser(config, named);
  return service;
}

const NOTHING = { files: [], fresh: [], left: [] };

function isUser({ tokens, sequences }: Service, user: string): boolean {
  return [...tokens, ...sequences].some(it => it.user === user);
}

function noUser(config: Config, { service: name, user }: Named): UserError {
  const { tokens, sequences } = findService(config, name);
  const users = [...new Set([...tokens, ...sequences].flatMap(it => it.user ?? []))];
  const known = users.length === 0 ? 'it has no named users' : `it has ${users.join(', ')}`;
  return new UserError(`${name} has no user ${user}; ${known}`);
}

function tokenPath(service: string, user: string): Path {
  return ['services', service, 'tokens', user];
}

/** The file of a secret; undefined for one in the configuration itself, or for none. */
function secretFile(text: string, path: Path, file: string): string | undefined {
  const written: unknown = findValue(text, [...path, 'file'])?.value;
  return typeof written === 'string' ? secretPath(file, written) : undefined;
}

/** Other users than `named` whose secret is in the file `own`. */
function sharing(text: string, { services }: Config, named: Named, own: string, file: string): Named[] {
  return services
    .flatMap(({ name: service, tokens }) => tokens.map(({ user }) => ({ service, user })))
    .filter(({ service, user }) => service !== named.service || user !== named.user)
    .filter(({ service, user }) => secretFile(text, tokenPath(service, user), file) === own);
}

function withUser(
  text: string,
  service: string,
  kind: 'tokens' | 'sequences',
  user: string,
  written: string,
): string {
  const path = ['services', service];
  return findValue(text, [...path, kind])
    ? withMember(text, [...path, kind], user, written)
    : withMember(text, path, kind, `{ ${JSON.stringify(user)}: ${written} }`);
}

function hex(secret: Uint8Array): string {
  return JSON.stringify(Buffer.from(secret).toString('hex'));
}

function knocksText(knocks: readonly Port[]): string {
  return `[${knocks.map(knock => JSON.stringify(writtenPort(knock))).join(', ')}]`;
}
