/** Shared by the checks: a server, two clients, a container, and questions to them. */
import assert from 'node:assert/strict';
import { release } from 'node:os';
import { after } from 'node:test';
import { ssh } from '../kernel/loaded.ts';
import { createWorld, type World } from '../kernel/world.ts';

/** A guest is slow, and may wait for a processor of the machine: what is to succeed has minutes. Milliseconds. */
export const PATIENCE = 120_000;
export const patient = { knockTimeout: '20m', openFor: '30m' } as const;
const ends: (() => unknown)[] = [];
export const t = { teardown: (end: () => unknown) => void ends.unshift(end) };
after(async () => {
  for (const end of ends) await end();
});

const [major = 0, minor = 0] = release().split('.').map(Number);
export const since = (wanted: readonly [number, number]) =>
  major > wanted[0] || (major === wanted[0] && minor >= wanted[1]);

export const services = {
  ssh: { ...ssh, ...patient },
  admin: {
    ports: [8443],
    sequences: { alice: ['7001/udp', 7003, '7002/udp'], bob: ['7001/udp', 7004] },
    ...patient,
  },
  dns: { ports: ['53/udp'], sequence: ['8001/udp', 8011, '8021/udp'], ...patient },
  once: { ports: [9000], sequence: [4000, 5000, 6000], singleUse: true, ...patient },
  shy: { ports: [9100, '9101/udp'], sequence: [4001, 5001, 6001], closed: 'reject', ...patient },
};
export const knocksOf = {
  alice: ['7001/udp', '7003/tcp', '7002/udp'],
  bob: ['7001/udp', '7004/tcp'],
  dns: ['8001/udp', '8011/tcp', '8021/udp'],
  once: ['4000/tcp', '5000/tcp', '6000/tcp'],
  shy: ['4001/tcp', '5001/tcp', '6001/tcp'],
};

export const world = await createWorld(t, { clients: ['client', 'stranger'], container: true });
export const { server } = world;
export const client = world.host('client');
export const stranger = world.host('stranger');

export async function command(args: readonly string[], where: World = world): Promise<string> {
  const { status, stdout, stderr } = await where.knockd(args, { timeout: PATIENCE });
  assert.equal(status, 0, `${args.join(' ')}: ${stdout}${stderr}`);
  return stdout.trim();
}

export async function opens(host: typeof client, to: string, port: number): Promise<void> {
  assert.equal(await host.connect(to, port, { timeout: PATIENCE }), 'open', `${to} ${port}`);
}

export async function isShut(host: typeof client, to: string, port: number): Promise<void> {
  assert.equal(await host.connect(to, port, { timeout: 1000 }), 'silent', `${to} ${port}`);
}
