/** The one transaction that turns a table into another, committed to a kernel that minds what refers to what. */

import assert from 'node:assert/strict';
import { isDeepStrictEqual } from 'node:util';
import { deserialize, serialize } from 'node:v8';
import fc from 'fast-check';
import t from 'tap';
import type { Message } from '../../src/netlink/nfnetlink.ts';
import { deleteChain } from '../../src/nftables/chain.ts';
import { newElements } from '../../src/nftables/element.ts';
import { NFT_MSG } from '../../src/nftables/message.ts';
import { deleteCounter } from '../../src/nftables/named-counter.ts';
import type { Element, Ruleset } from '../../src/nftables/ruleset.ts';
import { deleteSet } from '../../src/nftables/set.ts';
import { deleteTable } from '../../src/nftables/table.ts';
import { compile } from '../../src/ruleset/compile.ts';
import { ownerOf } from '../../src/ruleset/names.ts';
import { plan, recreatedState } from '../../src/table/plan.ts';
import { read, type Written, written } from '../ruleset/arbitrary.ts';
import { FakeKernel, Refused } from './fake-kernel.ts';

const BASE: Written = {
  services: {
    ssh: { ports: [22], sequence: ['7001/tcp', '7003/tcp', '7005/tcp'] },
    admin: {
      ports: ['8443/tcp'],
      sequences: { alice: ['7001/udp', '7005/tcp'], bob: ['7007/udp', '7001/tcp'] },
    },
  },
};

const isState = (set: Parameters<typeof ownerOf>[0]) => ownerOf(set) === 'packets';

const ruleset = (file: Written) => compile(read(file), '1.2.3');

/** As the loader does it: state is read only if it has to move. A former table goes when the new one is there. */
function planFor(kernel: FakeKernel, wanted: Ruleset, sizeInPlace = true): Message[] {
  const current = kernel.read(wanted.table.name);
  const former = kernel
    .tables()
    .filter(name => name !== wanted.table.name)
    .map(name => kernel.read(name))[0];
  const needed = new Set(current && recreatedState(current, wanted, sizeInPlace));
  const seen = current && {
    ...current,
    sets: current.sets.map(set => (isState(set) && !needed.has(set.name) ? { ...set, elements: [] } : set)),
  };
  const goes = former && seen ? [deleteTable(former.table.name)] : [];
  return [...goes, ...plan(seen, wanted, { former, sizeInPlace })];
}

function load(kernel: FakeKernel, wanted: Ruleset, sizeInPlace = true): Message[] {
  const messages = planFor(kernel, wanted, sizeInPlace);
  kernel.commit(messages);
  return messages;
}

/** The objects of a table by name, without its state, in no particular order. */
function program({ table, counters, sets, chains }: Ruleset): Map<string, unknown> {
  const identity = ({ key, end }: Element) => `${key.toString('hex')} ${end}`;
  return new Map<string, unknown>([
    ['table', table],
    ...counters.map(({ name }) => [`counter ${name}`, true] as const),
    ...sets.map(({ elements, ...set }) => {
      const listed = isState(set) ? [] : elements;
      return [
        `set ${set.name}`,
        [set, new Map(listed.map(element => [identity(element), element]))],
      ] as const;
    }),
    ...chains.map(chain => [`chain ${chain.name}`, chain] as const),
  ]);
}

function expectProgram(kernel: FakeKernel, wanted: Ruleset): void {
  const read = kernel.read(wanted.table.name);
  assert.ok(read);
  const [there, expected] = [program(read), program(wanted)];
  const names = [...new Set([...there.keys(), ...expected.keys()])];
  const different = names.filter(name => !isDeepStrictEqual(there.get(name), expected.get(name)));
  assert.deepEqual(different, []);
}

const kindOf = ({ type }: Message) =>
  Object.entries(NFT_MSG)
    .find(([, number]) => number === type)?.[0]
    ?.toLowerCase();
const words = (messages: readonly Message[]) =>
  messages.map(message => `${kindOf(message)} ${message.subject}`);

t.test('a new table is made in an order that the kernel takes', t => {
  fc.assert(
    fc.property(written, fc.boolean(), (file, sizeInPlace) => {
      const kernel = new FakeKernel({ sizeInPlace });
      const wanted = ruleset(file);
      load(kernel, wanted, sizeInPlace);
      expectProgram(kernel, wanted);
    }),
    { numRuns: 40 },
  );
  t.end();
});

t.test('there is nothing to do if all is as it should be, with any state', t => {
  fc.assert(
    fc.property(written, fc.boolean(), (file, sizeInPlace) => {
      const kernel = new FakeKernel({ sizeInPlace });
      const wanted = ruleset(file);
      load(kernel, wanted, sizeInPlace);
      kernel.put('knockd', 'progress_ipv4', { key: Buffer.alloc(4), data: Buffer.alloc(4), expires: 1 });
      kernel.count('knockd', 'wrong_knocks', 5);
      assert.deepEqual(words(planFor(kernel, wanted, sizeInPlace)), []);
    }),
    { numRuns: 40 },
  );
  t.end();
});

t.test(
  'any table becomes any other in one transaction, which the kernel takes and which ends the matter',
  t => {
    fc.assert(
      fc.property(fc.array(written, { minLength: 2, maxLength: 4 }), fc.boolean(), (files, sizeInPlace) => {
        const kernel = new FakeKernel({ sizeInPlace });
        for (const file of files) {
          const wanted = ruleset(file);
          load(kernel, wanted, sizeInPlace);
          expectProgram(kernel, wanted);
          assert.deepEqual(words(planFor(kernel, wanted, sizeInPlace)), []);
        }
      }),
      { numRuns: 60 },
    );
    t.end();
  },
);

t.test('a plan from the former ruleset, compiled again, is as good as one from the kernel’s', t => {
  fc.assert(
    fc.property(fc.array(written, { minLength: 2, maxLength: 4 }), files => {
      const kernel = new FakeKernel();
      let former: Ruleset | undefined;
      for (const file of files) {
        const wanted = ruleset(file);
        if (former) {
          const stays = recreatedState(former, wanted, true).length === 0;
          fc.pre(stays && former.table.name === wanted.table.name);
        }
        kernel.commit(plan(former, wanted));
        expectProgram(kernel, wanted);
        former = compile(deserialize(serialize(read(file))), '1.2.3');
      }
    }),
    { numRuns: 60 },
  );
  t.end();
});

const ADDRESS = Buffer.from([192, 0, 2, 7]);
const client: Element = { key: ADDRESS, timeout: 10_000, expires: 9000 };
const elementsOf = (kernel: FakeKernel, set: string, table = 'knockd') =>
  kernel.read(table)?.sets.find(({ name }) => name === set)?.elements;

t.test('another name of the table keeps the clients of every service, with any name of the service', t => {
  const services = Object.fromEntries(
    ['ssh', 'knockers_x', 'knockers'].map((name, index) => [
      name,
      { ports: [2000 + index], sequence: [`${7001 + 10 * index}/tcp`, '9001/tcp', '9003/tcp'] },
    ]),
  );
  const kernel = new FakeKernel({ sizeInPlace: true });
  load(kernel, ruleset({ services }));
  for (const name of Object.keys(services)) kernel.put('knockd', `${name}_clients_ipv4`, client);
  load(kernel, ruleset({ services, table: 'renamed' }));
  for (const name of Object.keys(services))
    t.equal(elementsOf(kernel, `${name}_clients_ipv4`, 'renamed')?.length, 1, name);
  t.end();
});

t.test('services that stay keep their clients, their progress and their counters', t => {
  fc.assert(
    fc.property(written, written, fc.boolean(), (a, b, sizeInPlace) => {
      const kernel = new FakeKernel({ sizeInPlace });
      const [before, after] = [ruleset(a), ruleset(b)];
      load(kernel, before, sizeInPlace);
      for (const set of before.sets.filter(isState))
        for (const host of [1, 2]) {
          const key = Buffer.alloc(
            set.types.length > 1 ? (set.name.endsWith('4') ? 12 : 24) : set.name.endsWith('4') ? 4 : 16,
            host,
          );
          const data = set.data ? { data: Buffer.alloc(4, host) } : {};
          kernel.put('knockd', set.name, { key, ...data, timeout: 5000, expires: 1000 * host });
        }
      for (const { name } of before.counters) kernel.count('knockd', name, 7);
      load(kernel, after, sizeInPlace);
      for (const set of after.sets.filter(isState)) {
        const was = before.sets.some(({ name }) => name === set.name);
        // a meter holds more than a time, so it starts anew where its set has to be made again
        const stays =
          was &&
          (!set.name.startsWith('knockers') ||
            sizeInPlace ||
            before.sets.find(({ name }) => name === set.name)?.size === set.size);
        assert.equal(elementsOf(kernel, set.name)?.length, stays ? 2 : 0, set.name);
        for (const { expires, timeout, key } of elementsOf(kernel, set.name) ?? [])
          assert.deepEqual([timeout, expires], [5000, 1000 * (key[0] ?? 0)]);
      }
      const names = new Set(before.counters.map(({ name }) => name));
      for (const { name, packets } of kernel.read('knockd')?.counters ?? [])
        assert.equal(packets, names.has(name) ? 7 : 0, name);
    }),
    { numRuns: 40 },
  );
  t.end();
});

function change(edit: Readonly<Record<string, unknown>>, sizeInPlace = true) {
  const kernel = new FakeKernel({ sizeInPlace });
  load(kernel, ruleset(BASE), sizeInPlace);
  for (const host of [1, 2, 3])
    kernel.put('knockd', 'ssh_clients_ipv4', {
      ...client,
      key: Buffer.from([192, 0, 2, host]),
      expires: host * 1000,
    });
  kernel.put('knockd', 'knockers_ipv4', client);
  const wanted = ruleset({ ...BASE, ...edit });
  const messages = load(kernel, wanted, sizeInPlace);
  expectProgram(kernel, wanted);
  return { kernel, messages: words(messages) };
}

const isAbout = (subject: string) => (word: string) => word.replace(/: rule .*/, '').endsWith(` ${subject}`);

t.test('a smaller or larger set keeps its elements if the kernel can resize it', t => {
  for (const clients of [2, 100_000]) {
    const { kernel, messages } = change({ limits: { clients } });
    t.strictSame(messages.filter(isAbout('set ssh_clients_ipv4')), ['newset set ssh_clients_ipv4']);
    t.notOk(messages.some(word => word.startsWith('delset')));
    t.equal(elementsOf(kernel, 'ssh_clients_ipv4')?.length, 3);
  }
  t.end();
});

t.test(
  'if the kernel cannot, the set is made again with those that live longest, and its rules with it',
  t => {
    const { kernel, messages } = change({ limits: { clients: 2 } }, false);
    t.strictSame(messages.filter(isAbout('set ssh_clients_ipv4')), [
      'delset set ssh_clients_ipv4',
      'newset set ssh_clients_ipv4',
      'newsetelem elements of set ssh_clients_ipv4',
    ]);
    t.strictSame(
      elementsOf(kernel, 'ssh_clients_ipv4')
        ?.map(({ key, expires }) => [key[3], expires])
        .toSorted(),
      [
        [2, 2000],
        [3, 3000],
      ],
    );
    for (const chain of ['guard_ssh', 'open_ssh'])
      t.strictSame(
        [
          ...new Set(
            messages.filter(word => isAbout(`chain ${chain}`)(word)).map(word => word.split(' ')[0]),
          ),
        ],
        ['delrule', 'newrule'],
        `rules of ${chain}`,
      );
    t.notOk(messages.some(isAbout('chain forget')), 'no other rules');
    t.notOk(messages.some(isAbout('set knockers_ipv4')), 'no other set');
    t.end();
  },
);

t.test('meters start again if they have to be made again', t => {
  const { kernel } = change({ limits: { progress: 1000 } }, false);
  t.strictSame(elementsOf(kernel, 'knockers_ipv4'), []);
  t.end();
});

t.test('another priority or hook makes the base chain again, and no other', t => {
  const { messages } = change({ priority: -100 });
  t.strictSame(
    messages.filter(word => /^(new|del)chain/.test(word)),
    ['delchain chain input', 'newchain chain input'],
  );
  t.match(change({ hook: 'prerouting' }).messages, { length: /^\d+$/ });
  t.end();
});

t.test('ranges, which are pairs of points, are changed as a whole', t => {
  const { messages } = change({ allow: ['10.0.0.0/8'] });
  t.strictSame(messages.filter(isAbout('set allowed_ipv4')), [
    'delset set allowed_ipv4',
    'newset set allowed_ipv4',
    'newsetelem elements of set allowed_ipv4',
  ]);
  t.ok(messages.includes('delrule rules of chain exempt'));
  t.notOk(messages.some(isAbout('set allowed_ipv6')));
  t.end();
});

t.test('a policy changes in place', t => {
  const { messages } = change({ policy: 'drop' });
  t.strictSame(
    messages.filter(word => /^(new|del)chain/.test(word)),
    ['newchain chain input', 'newchain chain forward'],
  );
  t.notOk(messages.some(word => word.startsWith('delset')));
  t.end();
});

t.test('a change of one service leaves the rules and sets of the others alone', t => {
  const { messages } = change({
    services: { ...BASE.services, ssh: { ...BASE.services.ssh, openFor: '1m', closed: 'reject' } },
  });
  t.notOk(messages.some(word => word.includes('admin')));
  t.ok(messages.some(isAbout('chain open_ssh')));
  t.end();
});

t.test('another sequence is a change of elements: no chain but the one with the fingerprint', t => {
  const ssh = { ...BASE.services.ssh, sequence: ['7001/tcp', '7003/tcp', '7007/udp'] };
  const { messages } = change({ services: { ...BASE.services, ssh } });
  t.strictSame([...new Set(messages.filter(word => !word.includes('chain input')))].toSorted(), [
    'delsetelem elements of map arrivals',
    'delsetelem elements of map steps',
    'newsetelem elements of map arrivals',
    'newsetelem elements of map steps',
  ]);
  t.end();
});

t.test('another name of the table moves all that the old one knew', t => {
  const kernel = new FakeKernel();
  load(kernel, ruleset(BASE));
  kernel.put('knockd', 'ssh_clients_ipv4', client);
  kernel.put('knockd', 'knockers_ipv4', client);
  kernel.count('knockd', 'ssh_opened', 42);
  const wanted = ruleset({ ...BASE, table: 'other' });
  load(kernel, wanted);
  t.strictSame(kernel.tables().toSorted(), ['knockd', 'other'], 'both guard, until the new one stands');
  load(kernel, wanted);
  t.strictSame(kernel.tables(), ['other']);
  expectProgram(kernel, wanted);
  t.strictSame(elementsOf(kernel, 'ssh_clients_ipv4', 'other'), [client]);
  t.strictSame(elementsOf(kernel, 'knockers_ipv4', 'other'), []);
  t.match(
    kernel.read('other')?.counters.find(({ name }) => name === 'ssh_opened'),
    { packets: 42, bytes: 42 * 60 },
  );
  t.end();
});

t.test('running sessions go into the same transaction, in a table that is there and in a new one', t => {
  const session = { key: Buffer.alloc(12, 1), timeout: 86_400_000 };
  const added = new Map([['sessions_ipv4', [session]]]);
  const kernel = new FakeKernel();
  const wanted = ruleset(BASE);
  kernel.commit(plan(undefined, wanted, { added }));
  t.strictSame(elementsOf(kernel, 'sessions_ipv4'), [session]);
  const other = { ...session, key: Buffer.alloc(12, 2) };
  kernel.commit(plan(kernel.read('knockd'), wanted, { added: new Map([['sessions_ipv4', [other]]]) }));
  t.equal(elementsOf(kernel, 'sessions_ipv4')?.length, 2);
  t.end();
});

t.test(
  'clients that somebody remembers come back into a table that is new, not into one that has them',
  t => {
    const remembered = new Map([['ssh_clients_ipv4', [client]]]);
    const kernel = new FakeKernel();
    const wanted = ruleset(BASE);
    kernel.commit(plan(undefined, wanted, { remembered }));
    t.strictSame(elementsOf(kernel, 'ssh_clients_ipv4'), [client]);
    t.strictSame(plan(kernel.read('knockd'), wanted, { remembered }), []);
    t.end();
  },
);

t.test('objects that others put into our table go, and those that they took come back', t => {
  const kernel = new FakeKernel();
  const wanted = ruleset(BASE);
  load(kernel, wanted);
  const there = kernel.read('knockd');
  assert.ok(there);
  const [steps] = wanted.sets.filter(({ name }) => name === 'steps');
  const tampered: Ruleset = {
    ...there,
    counters: [...there.counters, { name: 'foreign', packets: 0, bytes: 0 }],
    chains: [
      ...there.chains
        .filter(({ name }) => name !== 'exempt')
        .map(chain =>
          chain.name === 'advance' || chain.name.startsWith('guard') ? { ...chain, rules: [] } : chain,
        ),
      { name: 'foreign', rules: [{ expressions: [{ kind: 'objref', counter: 'foreign' }] }] },
    ],
    sets: [
      ...there.sets
        .filter(({ name }) => name !== 'wrong')
        .map(set => (set.name === 'steps' ? { ...set, elements: set.elements.slice(1) } : set)),
      { name: 'foreign', types: [], dynamic: false, timeout: false, interval: false, elements: [] },
    ],
  };
  assert.ok(steps);
  const other = new FakeKernel();
  other.commit(plan(undefined, tampered));
  load(other, wanted);
  expectProgram(other, wanted);
  t.strictSame(words(planFor(other, wanted)), []);
  t.end();
});

t.test('the kernel of these tests keeps all or nothing, and checks references', t => {
  const messages = plan(undefined, ruleset(BASE));
  const refusal = (part: readonly Message[], before: readonly Message[] = []) => {
    const kernel = new FakeKernel();
    kernel.commit(before);
    const tables = JSON.stringify(kernel.tables().map(name => kernel.read(name)));
    try {
      kernel.commit(part);
      return 'taken';
    } catch (error) {
      if (!(error instanceof Refused)) throw error;
      t.equal(JSON.stringify(kernel.tables().map(name => kernel.read(name))), tables, 'as it was');
      return error.message;
    }
  };
  t.equal(refusal(messages), 'taken');
  t.match(refusal(messages.slice(1)), /^ENOENT/, 'no table');
  t.match(refusal(messages.toReversed()), /^ENOENT/, 'rules first');
  t.equal(refusal([deleteChain('knockd', 'forget')], messages), 'EBUSY: chain forget');
  t.equal(refusal([deleteCounter('knockd', 'wrong_knocks')], messages), 'EBUSY: counter wrong_knocks');
  const ports = ruleset(BASE).sets.find(({ name }) => name === 'ports');
  assert.ok(ports);
  t.equal(refusal([deleteSet('knockd', ports)], messages), 'EBUSY: map ports');
  t.equal(
    refusal(
      newElements('knockd', ports, [
        { key: Buffer.from('0600000000160000', 'hex'), data: { code: 'accept' } },
      ]),
      messages,
    ),
    'EEXIST: elements of map ports',
  );
  t.end();
});
