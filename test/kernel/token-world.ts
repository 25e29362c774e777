/** A world with tokens: its own state folder, and a supervisor if a test needs one. */
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Test } from 'tap';
import { parseConfig } from '../../src/config/parse.ts';
import { noteFresh } from '../../src/feeder/book.ts';
import { tokensWanted } from '../../src/feeder/feed.ts';
import { deriveToken, windowAt } from '../../src/token/derive.ts';
import { tokenDatagram } from '../../src/token/packet.ts';
import { type families, patient } from './loaded.ts';
import type { Running } from './process.ts';
import { createWorld, type World, type WorldOptions } from './world.ts';

export const SECRETS = { alice: 'a1'.repeat(32), bob: 'b0'.repeat(32) } as const;
export const tokens = { services: { ssh: { ports: [22], tokens: SECRETS, ...patient } } };

type User = keyof typeof SECRETS;

/** A first load leaves out tokens that may be used. Good is the fifth window from then on, or the sixth if a minute ends. */
export const GOOD = 6;

/** For a command: a guest of test/kernels is slow. In milliseconds. */
const PATIENCE = 180_000;

/** The token of a window, counted from the present one. */
export function token(user: User, ahead = 0, { realm = 'default', service = 'ssh' } = {}): string {
  const secret = Buffer.from(SECRETS[user], 'hex');
  return deriveToken({ secret, realm, service }, windowAt(Date.now()) + ahead);
}

export interface Counted {
  readonly opened: number;
  readonly accepted: number;
  readonly wrong: number;
  readonly repeated: number;
}

export interface TokenWorld extends World {
  readonly env: { readonly RUNTIME_DIRECTORY: string; readonly STATE_DIRECTORY: string };
  /** Runs `load` with the state folder of this world. */
  load(file?: object): Promise<string>;
  /** The same with fresh secrets, as after `user add`: their tokens open from the first on. */
  loadFresh(file?: object): Promise<string>;
  /** The kernel's counters for service ssh and for tokens. */
  counted(): Promise<Counted>;
  /** A supervisor that has loaded. */
  supervise(file?: object): Promise<Running>;
  sendToken(host: string, token: string, family?: (typeof families)[number]): Promise<void>;
  /** Sends a token and connects. Returns whether that opened the port. */
  opens(host: string, token: string, port?: number): Promise<boolean>;
}

export async function tokenWorld(t: Pick<Test, 'teardown'>, options: WorldOptions = {}): Promise<TokenWorld> {
  const folder = mkdtempSync(join(tmpdir(), 'knockd-nft-test-'));
  t.teardown(() => rmSync(folder, { recursive: true, force: true })); // after the world, whose supervisors write there
  const world = await createWorld(t, options);
  const env = { RUNTIME_DIRECTORY: join(folder, 'run'), STATE_DIRECTORY: join(folder, 'state') };
  for (const path of Object.values(env)) mkdirSync(path);
  const self: TokenWorld = Object.assign(world, {
    env,
    async load(file: object = tokens) {
      world.write(file);
      const { status, stdout, stderr } = await world.knockd(['load'], { env, timeout: PATIENCE });
      if (status !== 0) throw new Error(`load ended with ${status}: ${stdout}${stderr}`);
      return stdout;
    },
    async loadFresh(file: object = tokens) {
      const wanted = tokensWanted(parseConfig(JSON.stringify(file), 'file', {}).config);
      const { users = [], realm = '' } = wanted ?? {};
      await noteFresh(
        env,
        users.map(user => ({ ...user, realm })),
      );
      return self.load(file);
    },
    async counted() {
      const { status, stdout, stderr } = await world.knockd(['status', '--json'], { env, timeout: PATIENCE });
      if (status !== 0) throw new Error(`status ended with ${status}: ${stderr}`);
      const { services, tokens } = JSON.parse(stdout);
      const { opened, accepted } = services.ssh;
      return { opened, accepted, wrong: tokens.wrong, repeated: tokens.repeated };
    },
    async supervise(file: object = tokens) {
      world.write(file);
      const supervisor = world.startKnockd(['run'], env);
      await supervisor.line(/"event":"(loaded|unchanged|swapped)"/);
      return supervisor;
    },
    async sendToken(host: string, text: string, family: (typeof families)[number] = 'ipv4') {
      const to = world.server[family];
      await world.host(host).send([{ protocol: 'udp', to, port: 62201, payload: tokenDatagram(text) }]);
    },
    async opens(host: string, text: string, port = 22) {
      await self.sendToken(host, text);
      return (await world.host(host).connect(world.server.ipv4, port)) === 'open';
    },
  });
  return self;
}
