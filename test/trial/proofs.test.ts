/** The clients whose knock confirms a trial, for each kind of change. */
import t from 'tap';
import { parseConfig } from '../../src/config/parse.ts';
import type { Session } from '../../src/host/sessions.ts';
import { compile } from '../../src/ruleset/compile.ts';
import { differences } from '../../src/ruleset/describe.ts';
import { decompile } from '../../src/ruleset/program.ts';
import { proofsOf } from '../../src/trial/proofs.ts';

const ssh = { ports: [22], sequence: [10000, 2345, 3456, 1234] };
const alice = [6001, 6003, 6005];
const bob = [6001, 6005, 6003];
const web = { ports: ['8080-8090/tcp'], sequences: { alice, bob } };
const both = { services: { ssh, web } };
const others = [11000, 2345, 3456, 1234];
const more = [4001, 4003, 4005];

const secret = (byte: number) => Buffer.alloc(32, byte).toString('hex');
const tokens = { ports: [22], tokens: { phone: secret(1) } };

const login = (port: number): Session => {
  return { family: 'ipv4', peer: Buffer.from([192, 0, 2, 7]), peerPort: 40000, port };
};

const compiled = (config: object | undefined) =>
  config && compile(parseConfig(JSON.stringify(config), 'test.json', {}).config, '1.0.0');

/** Services, with the users of the sequences that show it whoever knocks; and `author` where his address does. */
function proofs(before: object | undefined, wanted: object, author?: Session): Record<string, string> {
  const [was, is] = [compiled(before), compiled(wanted)];
  if (!is) return {};
  const changes = was ? differences(decompile(was), decompile(is)) : [];
  return Object.fromEntries(
    proofsOf(was, is, changes, author).proofs.map(proof => {
      const anybody = [...proof.users].flatMap(([place, user]) =>
        proof.anybody.has(place) ? [user ?? 'anybody'] : [],
      );
      return [proof.service, [...anybody.sort(), ...(proof.author ? ['author'] : [])].join(' ')];
    }),
  );
}

t.test('by any client, only a sequence that was not known before', async t => {
  const kinds: readonly (readonly [what: string, before: object | undefined, is: object, shows: object])[] = [
    ['the first load', undefined, both, { ssh: 'anybody', web: 'alice bob' }],
    ['nothing guarded before', { services: {} }, both, { ssh: 'anybody', web: 'alice bob' }],
    [
      'a changed sequence',
      both,
      { services: { ssh: { ...ssh, sequence: others }, web } },
      { ssh: 'anybody' },
    ],
    ['a new service', { services: { web } }, both, { ssh: 'anybody' }],
    [
      'a service with tokens alone',
      { services: { web } },
      { services: { ssh: tokens, web } },
      { ssh: 'phone' },
    ],
    [
      'tokens beside a sequence',
      both,
      { services: { ssh: { ...ssh, tokens: { phone: secret(1) } }, web } },
      { ssh: 'phone' },
    ],
    [
      'another secret',
      { services: { ssh: tokens } },
      { services: { ssh: { ports: [22], tokens: { phone: secret(2) } } } },
      { ssh: 'phone' },
    ],
    [
      'one more secret',
      { services: { ssh: tokens } },
      { services: { ssh: { ports: [22], tokens: { phone: secret(1), laptop: secret(2) } } } },
      { ssh: 'laptop' },
    ],
    [
      'another setting of a service with tokens',
      { services: { ssh: tokens } },
      { services: { ssh: { ...tokens, openFor: '20s' } } },
      { ssh: 'phone' },
    ],
    [
      'what has nothing to do with tokens',
      { services: { ssh: tokens } },
      { services: { ssh: tokens, web } },
      { web: 'alice bob' },
    ],
    [
      'one user of several',
      both,
      { services: { ssh, web: { ...web, sequences: { alice: more, bob } } } },
      { web: 'alice' },
    ],
    [
      'a new user',
      both,
      { services: { ssh, web: { ...web, sequences: { alice, bob, carol: more } } } },
      { web: 'carol' },
    ],
    ['a renamed service', { services: { ssh, www: web } }, both, {}],
    [
      'a renamed user',
      { services: { web: { ...web, sequences: { alice, robert: bob } } } },
      { services: { web } },
      {},
    ],
    [
      'users who changed places',
      both,
      { services: { ssh, web: { ...web, sequences: { alice: bob, bob: alice } } } },
      {},
    ],
    ['a service that went', both, { services: { web } }, {}],
    ['interfaces', both, { ...both, interfaces: ['eth1'] }, {}],
    ['policy', both, { ...both, policy: 'drop' }, {}],
    ['hook', both, { ...both, hook: 'prerouting' }, {}],
    ['prefix', both, { ...both, prefix: { ipv6: 64 } }, {}],
    ['limits', both, { ...both, limits: { clients: 100 } }, {}],
    ['allow', { ...both, allow: ['192.0.2.7'] }, both, {}],
    ['public', both, { ...both, public: [443] }, {}],
    ['table', both, { ...both, table: 'other' }, {}],
    ['strict', both, { ...both, strict: false }, {}],
  ];
  for (const [what, before, is, shows] of kinds) t.same(proofs(before, is), shows, what);
});

t.test('by any client on a service, if that is all that was changed', async t => {
  const settings = {
    ports: ['8080/tcp'],
    openFor: '1s',
    knockTimeout: '1s',
    singleUse: true,
    closed: 'reject',
  };
  for (const [key, value] of Object.entries(settings)) {
    const changed = { ...web, [key]: value };
    t.same(proofs(both, { services: { ssh, web: changed } }), { web: 'alice bob' }, key);
    t.same(
      proofs(both, { services: { ssh, web: changed }, interfaces: ['eth1'] }),
      {},
      `${key}, and interfaces`,
    );
    t.same(
      proofs(both, { services: { ssh, web: { ...changed, sequences: { alice: more, bob } } } }),
      { web: 'alice' },
      `${key}, and the sequence of alice`,
    );
    t.same(
      proofs(both, { services: { ssh: { ...ssh, openFor: '1m' }, web: changed } }),
      {},
      `${key}, and another service`,
    );
  }
});

t.test('by nobody, if somebody had changed the rules by hand', async t => {
  const is = compiled(both);
  const [input, ...chains] = is?.chains.toReversed() ?? [];
  if (!is || !input) return t.fail();
  const accept = { expressions: [{ kind: 'immediate', verdict: { code: 'accept' } }] } as const;
  const byHand = { ...is, chains: [...chains, { ...input, rules: [...input.rules, accept] }] };
  t.same(
    proofsOf(byHand, is, differences(decompile(byHand), decompile(is)), undefined).proofs,
    [],
    'the file as it was',
  );
  const faster = compiled({ services: { ssh, web: { ...web, openFor: '1s' } } });
  if (faster)
    t.same(proofsOf(byHand, faster, differences(decompile(byHand), decompile(faster)), undefined).proofs, []);
});

t.test("from the author's address, the service that he is in by", async t => {
  const changed = { ...both, interfaces: ['eth1'] };
  t.same(proofs(both, changed, login(22)), { ssh: 'author' });
  t.same(proofs(both, changed, login(8085)), { web: 'author' });
  t.same(proofs(both, changed, login(2222)), { ssh: 'author', web: 'author' }, 'which is not guarded');
  const dropped = { services: { web }, policy: 'drop' };
  t.same(proofs(both, dropped, login(22)), {}, 'which is closed to all');
  t.same(proofs(both, { ...dropped, public: [22] }, login(22)), { web: 'author' }, 'which is public');
  const sequence = { services: { ssh: { ...ssh, sequence: others }, web } };
  t.same(proofs(both, sequence, login(22)), { ssh: 'anybody author' });
  t.same(proofs(both, sequence, login(8085)), { ssh: 'anybody', web: 'author' });
});
