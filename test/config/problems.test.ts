import t from 'tap';
import { parseConfig } from '../../src/config/parse.ts';
import { ConfigError, formatProblem, type Problem } from '../../src/config/problems.ts';

/** `▸` in front of what is wrong; it is not part of the file. A text without it has its problem in no line. */
interface Case {
  readonly name: string;
  readonly text: string;
  readonly message: RegExp;
  readonly env?: NodeJS.ProcessEnv;
}

const SEQUENCE = '[10000, 2345, 3456, 1234]';
const OTHER = '[7000, 9000, 8000]';

/** A file with one good service, and further keys. */
function withKey(line: string): string {
  return `{
  "services": { "ssh": { "ports": [22], "sequence": ${SEQUENCE} } },
  ${line}
}`;
}

/** A file with a service whose further lines are given. */
function withService(...lines: readonly string[]): string {
  return `{
  "services": {
    "ssh": {
      ${lines.join('\n      ')}
    },
  },
}`;
}

function problemsOf(text: string, env: NodeJS.ProcessEnv = {}): readonly Problem[] {
  try {
    return parseConfig(text, 'FILE', env).warnings;
  } catch (error) {
    if (error instanceof ConfigError) return error.problems;
    throw error;
  }
}

function unmark(text: string): { text: string; place: string } {
  const before = text.slice(0, text.indexOf('▸')).split('\n');
  return { text: text.replace('▸', ''), place: `${before.length}:${(before.at(-1) ?? '').length + 1}` };
}

/** The marked problem is the only one of its file. */
function only(severity: Problem['severity'], cases: readonly Case[]): void {
  for (const { name, text: marked, message, env } of cases) {
    t.test(name, t => {
      const { text, place } = unmark(marked);
      const problems = problemsOf(text, env);
      t.equal(problems.length, 1, problems.map(formatProblem).join('\n'));
      const [problem] = problems;
      t.equal(problem?.severity, severity);
      t.equal(`${problem?.line}:${problem?.column}`, place);
      t.match(problem?.message, message);
      t.match(problem?.message, severity === 'error' ? /expected / : /./, 'says what is expected');
      t.end();
    });
  }
}

only('error', [
  { name: 'an empty file', text: '▸', message: /empty; expected an object/ },
  { name: 'a file of white space', text: '▸\n\n', message: /empty/ },
  { name: 'a file of comments', text: '// nothing yet\n▸', message: /expected a value/ },
  { name: 'a byte order mark', text: '▸\uFEFF{}', message: /byte order mark/ },
  { name: 'an array instead of an object', text: ' ▸[]', message: /an array; expected an object/ },
  { name: 'a string instead of an object', text: '▸"services"', message: /a string; expected an object/ },
  {
    name: 'an object that does not end',
    text: '{\n  "services": {\n}\n▸',
    message: /expected "}" for the "{" in line 1/,
  },
  {
    name: 'an array that does not end',
    text: '{\n  "public": [80,\n▸',
    message: /expected "]" for the "\[" in line 2/,
  },
  {
    name: 'a comma forgotten',
    text: '{\n  "services": {}\n  ▸"log": {} }',
    message: /expected "," before this/,
  },
  { name: 'a comma too many', text: '{ "public": [80,▸, 443] }', message: /expected a value/ },
  { name: 'a colon forgotten', text: '{ "services" ▸{} }', message: /expected ":"/ },
  { name: 'a key without quotes', text: '{ ▸services: {} }', message: /double quotes/ },
  { name: 'a string in single quotes', text: '{ "table": ▸\'knockd\' }', message: /double quotes/ },
  { name: 'a string without end', text: '{ "table": ▸"knockd\n}', message: /closing quote/ },
  { name: 'a comment without end', text: '{}\n  ▸/* TODO', message: /\*\// },
  { name: 'an unknown escape', text: '{ "table": ▸"\\x41" }', message: /escape/ },
  { name: 'a tab in a string', text: '{ "table": ▸"a\tb" }', message: /control character/ },
  { name: 'a number that breaks off', text: '{ "priority": ▸1. }', message: /digit/ },
  { name: 'a second value', text: '{}\n▸{}', message: /nothing more/ },
  {
    name: 'a syntax error with other errors before it',
    text: '{ "nonsense": 1,\n  "table": ▸}',
    message: /expected a value/,
  },
  {
    name: 'brackets that would exhaust the stack',
    text: `${'['.repeat(64)}▸${'['.repeat(2_000_000)}`,
    message: /too deep/,
  },
  {
    name: 'a place after Windows line ends and comments',
    text: '{\r\n /* \r\n */ ▸x }',
    message: /double quotes/,
  },
]);

only('error', [
  { name: 'no services', text: '▸{ "policy": "drop" }', message: /"services" is missing/ },
  {
    name: 'a misspelt key',
    text: withKey('▸"polciy": "drop"'),
    message: /unknown key "polciy", the nearest is "policy"/,
  },
  { name: 'a key in the wrong case', text: withKey('▸"Public": []'), message: /nearest is "public"/ },
  {
    name: 'a misspelt key of a service',
    text: withService('"ports": [22],', `"sequence": ${SEQUENCE},`, '▸"openfor": 5'),
    message: /nearest is "openFor"/,
  },
  { name: 'a key that objects inherit', text: withKey('▸"constructor": {}'), message: /unknown key/ },
  { name: 'the key __proto__', text: withKey('▸"__proto__": {}'), message: /unknown key/ },
  { name: 'a misspelt key of log', text: withKey('"log": { ▸"levle": "info" }'), message: /"level"/ },
  {
    name: 'the same key twice',
    text: withKey('"policy": "drop",\n  ▸"policy": "drop"'),
    message: /already in line 3/,
  },
  {
    name: 'the same key twice, once escaped',
    text: withKey('"policy": "drop",\n  ▸"p\\u006flicy": "drop"'),
    message: /"policy" is already in line 3/,
  },
  {
    name: 'a service twice',
    text: `{ "services": {\n"a": { "ports": [22], "sequence": ${SEQUENCE} },\n▸"a": { "ports": [23], "sequence": ${OTHER} } } }`,
    message: /"a" is already in line 2/,
  },
  { name: 'services as an array', text: '{ "services": ▸[] }', message: /an array; expected an object/ },
  { name: 'services null', text: '{ "services": ▸null }', message: /null; expected an object/ },
  {
    name: 'a service that is a number',
    text: '{ "services": { "ssh": ▸22 } }',
    message: /a number; expected an object/,
  },
  {
    name: 'a service name in capitals',
    text: `{ "services": { ▸"SSH": { "ports": [22], "sequence": ${SEQUENCE} } } }`,
    message: /"SSH" is no service name/,
  },
  {
    name: 'a service name of 33 letters',
    text: `{ "services": { ▸"${'a'.repeat(33)}": { "ports": [22], "sequence": ${SEQUENCE} } } }`,
    message: /up to 31/,
  },
  {
    name: 'a service name that begins with a digit',
    text: `{ "services": { ▸"2ssh": { "ports": [22], "sequence": ${SEQUENCE} } } }`,
    message: /no service name/,
  },
  {
    name: 'a user name with a space',
    text: withService('"ports": [22],', `"sequences": { ▸"bob b": ${SEQUENCE} }`),
    message: /no user name/,
  },
  {
    name: 'a service without ports',
    text: `{ "services": { "ssh": ▸{ "sequence": ${SEQUENCE} } } }`,
    message: /"ports" is missing/,
  },
  {
    name: 'ports that are no array',
    text: withService('"ports": ▸22,', `"sequence": ${SEQUENCE}`),
    message: /a number; expected an array/,
  },
  {
    name: 'a service with no way in',
    text: '{ "services": { "ssh": ▸{ "ports": [22] } } }',
    message: /there is no way in; expected "tokens" .*"sequence", or "sequences"/,
  },
  {
    name: 'a service with both sequence and sequences',
    text: withService('"ports": [22],', `"sequence": ${SEQUENCE},`, `▸"sequences": { "bob": ${OTHER} }`),
    message: /and "sequence" \(line 5\) exclude each other/,
  },
  {
    name: 'sequences without a user',
    text: withService('"ports": [22],', '"sequences": ▸{}'),
    message: /empty; expected .* each user/,
  },
  {
    name: 'a sequence without knocks',
    text: withService('"ports": [22],', '"sequence": ▸[]'),
    message: /empty; expected an array of 1 to 32/,
  },
  {
    name: 'a sequence of 33 knocks',
    text: withService(
      '"ports": [22],',
      `"sequence": ▸[${Array.from({ length: 33 }, (_, i) => 1000 + 7 * i)}]`,
    ),
    message: /33 knocks; expected an array of 1 to 32/,
  },
  {
    name: 'a knock on port 0',
    text: withService('"ports": [22],', '"sequence": [1, ▸0, 7, 9]'),
    message: /knock 2 is no port; expected a number from 1 to 65535/,
  },
  {
    name: 'a knock beyond 65535',
    text: withService('"ports": [22],', '"sequence": [1, 70, 7, ▸65536]'),
    message: /knock 4 is no port/,
  },
  {
    name: 'a knock on a range',
    text: withService('"ports": [22],', '"sequence": [1, ▸"70-80/tcp", 7]'),
    message: /knock 2 is a range/,
  },
  {
    name: 'a knock without protocol',
    text: withService('"ports": [22],', '"sequence": [1, ▸"70", 7]'),
    message: /knock 2 names no protocol/,
  },
  {
    name: 'a knock that is a fraction',
    text: withService('"ports": [22],', '"sequence": [1, ▸70.5, 7]'),
    message: /knock 2 is no port/,
  },
  {
    name: 'a port with an unknown protocol',
    text: withService('"ports": [▸"22/sctp"],', `"sequence": ${SEQUENCE}`),
    message: /"22\/sctp" is no port/,
  },
  {
    name: 'a port with a leading zero',
    text: withService('"ports": [▸"022/tcp"],', `"sequence": ${SEQUENCE}`),
    message: /is no port/,
  },
  {
    name: 'a port range that ends before it begins',
    text: withKey('"public": [▸"6010-6000/tcp"]'),
    message: /end comes before/,
  },
  {
    name: 'a port range beyond 65535',
    text: withKey('"public": [▸"65000-66000/tcp"]'),
    message: /is no port/,
  },
  { name: 'a port with spaces', text: withKey('"public": [▸"80 / tcp"]'), message: /is no port/ },
  {
    name: 'a duration under a second',
    text: withService('"ports": [22],', `"sequence": ${SEQUENCE},`, '"knockTimeout": ▸"500ms"'),
    message: /"500ms" is too short; .* 1 s to 365 d/,
  },
  {
    name: 'a duration of 0',
    text: withService('"ports": [22],', `"sequence": ${SEQUENCE},`, '"openFor": ▸0'),
    message: /0 is too short/,
  },
  {
    name: 'a duration over 365 days',
    text: withService('"ports": [22],', `"sequence": ${SEQUENCE},`, '"openFor": ▸"366d"'),
    message: /too long/,
  },
  {
    name: 'a duration in the wrong order',
    text: withService('"ports": [22],', `"sequence": ${SEQUENCE},`, '"openFor": ▸"30s1m"'),
    message: /no duration/,
  },
  {
    name: 'a duration that is a word',
    text: withService('"ports": [22],', `"sequence": ${SEQUENCE},`, '"openFor": ▸"5 minutes"'),
    message: /no duration/,
  },
  {
    name: 'a truth value in quotes',
    text: withService('"ports": [22],', `"sequence": ${SEQUENCE},`, '"singleUse": ▸"true"'),
    message: /expected true or false/,
  },
  {
    name: 'an unknown way to be closed',
    text: withKey('"closed": ▸"deny"'),
    message: /"deny" is wrong; expected "drop", "reject" or "prohibited"/,
  },
  { name: 'an unknown policy', text: withKey('"policy": ▸"reject"'), message: /expected "accept" or "drop"/ },
  {
    name: 'an unknown hook',
    text: withKey('"hook": ▸"forward"'),
    message: /expected "input" or "prerouting"/,
  },
  {
    name: 'a priority before conntrack',
    text: withKey('"priority": ▸-200'),
    message: /from -199 to 2147483647/,
  },
  { name: 'a priority by name', text: withKey('"priority": ▸"filter - 10"'), message: /expected an integer/ },
  { name: 'a prefix longer than IPv4', text: withKey('"prefix": { "ipv4": ▸33 }'), message: /from 1 to 32/ },
  { name: 'a prefix of 0 bits', text: withKey('"prefix": { "ipv6": ▸0 }'), message: /from 1 to 128/ },
  { name: 'a limit of 0', text: withKey('"limits": { "clients": ▸0 }'), message: /from 1 to 16777216/ },
  {
    name: 'a limit beyond memory',
    text: withKey('"limits": { "progress": ▸1e9 }'),
    message: /from 1 to 16777216/,
  },
  { name: 'strict as a number', text: withKey('"strict": ▸1'), message: /expected true or false/ },
  { name: 'a table name with a dash', text: withKey('"table": ▸"knockd-nft"'), message: /no table name/ },
  {
    name: 'a table name that nft takes for a word of its own',
    text: withKey('"table": ▸"filter", "x_": 1'.replace('"filter", "x_": 1', '"counter"')),
    message: /word of the nft language/,
  },
  {
    name: 'a table name that only newer nft takes for a word',
    text: withKey('"table": ▸"destroy"'),
    message: /word of the nft language/,
  },
  {
    name: 'an interface name of 16 characters',
    text: withKey('"interfaces": [▸"abcdefghijklmnop"]'),
    message: /up to 15/,
  },
  { name: 'an empty interface name', text: withKey('"interfaces": [▸""]'), message: /no interface name/ },
  {
    name: 'an interface name with a slash',
    text: withKey('"interfaces": [▸"eth/0"]'),
    message: /no interface name/,
  },
  {
    name: 'an interface name with a colon',
    text: withKey('"interfaces": [▸"eth0:1"]'),
    message: /no interface name/,
  },
  {
    name: 'two interface names in one',
    text: withKey('"interfaces": [▸"eth0,eth1"]'),
    message: /"eth0,eth1" is no interface name; expected one name: /,
  },
  {
    name: 'an interface name with a space',
    text: withKey('"interfaces": [▸"eth 0"]'),
    message: /no interface name/,
  },
  {
    name: 'a wildcard in the middle',
    text: withKey('"interfaces": [▸"e*0"]'),
    message: /"\*" only at the end/,
  },
  {
    name: 'a wildcard alone',
    text: withKey('"interfaces": [▸"*"]'),
    message: /all interfaces; expected an empty array/,
  },
  {
    name: 'a network with host bits',
    text: withKey('"allow": [▸"10.0.0.5/8"]'),
    message: /host bits set; expected the network "10\.0\.0\.0\/8"/,
  },
  {
    name: 'an IPv6 network with host bits',
    text: withKey('"allow": [▸"2001:db8::1/64"]'),
    message: /the network "2001:db8::\/64"/,
  },
  {
    name: 'an address with a leading zero',
    text: withKey('"allow": [▸"010.0.0.1"]'),
    message: /leading zeros/,
  },
  {
    name: 'an address with two numbers',
    text: withKey('"allow": [▸"10.1"]'),
    message: /four decimal numbers/,
  },
  {
    name: 'an address mapped into IPv6',
    text: withKey('"allow": [▸"::ffff:192.0.2.7"]'),
    message: /expected IPv4: "192\.0\.2\.7"/,
  },
  {
    name: 'a mapped network',
    text: withKey('"allow": [▸"::ffff:c000:200/120"]'),
    message: /expected IPv4: "192\.0\.2\.0\/24"/,
  },
  { name: 'an address with a zone', text: withKey('"allow": [▸"fe80::1%eth0"]'), message: /zone/ },
  { name: 'a host name', text: withKey('"allow": [▸"example.org"]'), message: /no address/ },
  {
    name: 'a network longer than its address',
    text: withKey('"allow": [▸"192.0.2.0/33"]'),
    message: /expected 0 to 32/,
  },
  {
    name: 'an unknown log level',
    text: withKey('"log": { "level": ▸"verbose" }'),
    message: /"trace".*"silent"/,
  },
  {
    name: 'a log group beyond 16 bits',
    text: withKey('"log": { "group": ▸65536 }'),
    message: /from 0 to 65535/,
  },
  { name: 'a $schema that is no string', text: withKey('"$schema": ▸1'), message: /a string/ },
]);

only('error', [
  {
    name: 'a knock on the port that it opens',
    text: withService('"ports": [22],', '"sequence": [1000, ▸22, 3000]'),
    message: /knock 2 is a port of services\.ssh\.ports \(line 4\)/,
  },
  {
    name: 'a knock within a guarded range of another service',
    text: `{ "services": {\n"a": { "ports": ["6000-6010/udp"], "sequence": ${SEQUENCE} },\n"b": { "ports": [23], "sequence": [7, 9000, ▸"6005/udp"] } } }`,
    message: /knock 3 is a port of services\.a\.ports \(line 2\)/,
  },
  {
    name: 'a guarded port that an earlier service knocks on',
    text: `{ "services": {\n"a": { "ports": [22], "sequence": ${SEQUENCE} },\n"b": { "ports": [▸"2000-3000/tcp"], "sequence": ${OTHER} } } }`,
    message: /a port here is a knock of services\.a\.sequence \(line 2\)/,
  },
  {
    name: 'a public port that is knocked on',
    text: withKey('"public": [80, ▸"3000-4000/tcp"]'),
    message: /a port here is a knock of services\.ssh\.sequence \(line 2\)/,
  },
  {
    name: 'a knock on a public port',
    text: `{ "public": [\n10000],\n"services": { "ssh": { "ports": [22], "sequence": [▸10000, 2345, 3456, 1234] } } }`,
    message: /knock 1 is a port of public \(line 2\)/,
  },
  {
    name: 'a public port that is guarded',
    text: withKey('"public": [80, ▸"20-25/tcp"]'),
    message: /20-25\/tcp is also in services\.ssh\.ports \(line 2\)/,
  },
  {
    name: 'a guarded port that is public',
    text: `{ "public": [22],\n"services": { "ssh": { "ports": [▸22], "sequence": ${SEQUENCE} } } }`,
    message: /22\/tcp is also in public \(line 1\)/,
  },
  {
    name: 'a port guarded by two services',
    text: `{ "services": {\n"a": { "ports": [22], "sequence": ${SEQUENCE} },\n"b": { "ports": [23, ▸"22/tcp"], "sequence": ${OTHER} } } }`,
    message: /22\/tcp is guarded by services\.a\.ports \(line 2\) already/,
  },
  {
    name: 'a port guarded twice by one service',
    text: withService('"ports": ["1-100/udp", ▸"53/udp"],', `"sequence": ${SEQUENCE}`),
    message: /this array \(line 4\)/,
  },
  {
    name: 'a range that surrounds ports guarded before',
    text: withService('"ports": [22, 23, 25, ▸"20-30/tcp"],', `"sequence": ${SEQUENCE}`),
    message: /20-30\/tcp is guarded/,
  },
  {
    name: 'the same knock twice in a row',
    text: withService('"ports": [22],', '"sequence": [1000, 3000,', '▸"3000/tcp", 2000]'),
    message: /knock 3 is the same as the one before \(line 5\)/,
  },
  {
    name: 'two equal sequences',
    text: `{ "services": {\n"a": { "ports": [22], "sequence": [1000, "53/udp", 2000] },\n"b": { "ports": [23], "sequence": ▸["1000/tcp", "53/udp", 2000] } } }`,
    message: /the same as services\.a\.sequence \(line 2\)/,
  },
  {
    name: 'two users with equal sequences',
    text: withService('"ports": [22],', `"sequences": { "alice": ${SEQUENCE},`, `"bob": ▸${SEQUENCE} }`),
    message: /the same as services\.ssh\.sequences\.alice \(line 5\)/,
  },
  {
    name: 'a sequence that begins with another whole one',
    text: `{ "services": {\n"a": { "ports": [22], "sequence": [7, 9, 1] },\n"b": { "ports": [23], "sequence": ▸[7, 9, 1, 500] } } }`,
    message: /begins with the whole of services\.a\.sequence \(line 2\), so it could never be completed/,
  },
  {
    name: 'a sequence that is the beginning of an earlier one',
    text: `{ "services": {\n"a": { "ports": [22], "sequence": [7, 9, 1, 500] },\n"b": { "ports": [23], "sequence": ▸[7, 9, 1] } } }`,
    message: /the beginning of services\.a\.sequence \(line 2\), which could then never be completed/,
  },
]);

t.test('a name that may be a secret is not shown', t => {
  const secret = '3f9c1e07a64b8d52f0e1c3b5a7988d6e42107fb35c9ad8e6014273fdb8a5c96e';
  const [problem] = problemsOf(withService('"ports": [22],', `"tokens": { "${secret}": "alice" }`));
  t.match(problem?.message, /^services\.ssh\.tokens: this is no user name; expected a lower-case letter/);
  t.end();
});

only('warning', [
  { name: 'no service at all', text: '{ "services": ▸{} }', message: /no port is guarded/ },
  {
    name: 'a sequence of one knock',
    text: withService('"ports": [22],', '"sequence": ▸[1000]'),
    message: /1 knock is easily guessed/,
  },
  {
    name: 'a sequence of two knocks',
    text: withService('"ports": [22],', '"sequence": ▸[1000, 3000]'),
    message: /2 knocks are easily guessed/,
  },
  {
    name: 'two knocks in a row whose ports differ by 1',
    text: withService('"ports": [22],', '"sequence": [1000, 3000, ▸3001, 20]'),
    message: /knocks 2 and 3 differ by 1/,
  },
  {
    name: 'two knocks in a row, the second 1 lower',
    text: withService('"ports": [22],', '"sequence": ["53/udp", ▸"52/udp", 20]'),
    message: /knocks 1 and 2 differ by 1/,
  },
  {
    name: 'knocks that only rise, without strict',
    text: `{ "strict": false,\n"services": { "ssh": { "ports": [22], "sequence": ▸[1000, 2000, 3000] } } }`,
    message: /only rise or only fall/,
  },
  {
    name: 'knocks that only fall, without strict',
    text: `{ "services": { "ssh": { "ports": [22], "sequence": ▸[3000, 2000, 1000] } }, "strict": false }`,
    message: /only rise or only fall/,
  },
  {
    name: 'room for fewer clients in mid-sequence than a sequence has knocks',
    text: `{ "services": { "ssh": { "ports": [22], "sequence": ▸[1000, 3000, 2000] } }, "limits": { "progress": 2 } }`,
    message: /with "limits\.progress" at 2, .* may not get in; 3 is enough for one/,
  },
  {
    name: 'every IPv4 address in allow',
    text: withKey('"allow": ["192.0.2.7", ▸"0.0.0.0/0"],'),
    message: /^allow: "0\.0\.0\.0\/0" is every IPv4 address: over IPv4 nothing is guarded$/,
  },
  {
    name: 'every IPv6 address in allow',
    text: withKey('"allow": [▸"::/0"],'),
    message: /^allow: "::\/0" is every IPv6 address/,
  },
  ...(['0.0.0.0', '255.255.255.255', '224.0.0.1', '::', 'ff02::1'] as const).map(address => ({
    name: `${address} in allow, which no host has`,
    text: withKey(`"allow": [▸"${address}"],`),
    message: /is no host's address; every IPv[46] address is "(0\.0\.0\.0|::)\/0"$/,
  })),
]);

const CLEAN: readonly { readonly name: string; readonly text: string }[] = [
  {
    name: 'ports that differ by 1 in different protocols',
    text: withService('"ports": [22],', '"sequence": [1000, "1001/udp", 20]'),
  },
  {
    name: 'knocks that rise, with strict',
    text: withService('"ports": [22],', '"sequence": [1000, 2000, 3000]'),
  },
  {
    name: 'knocks that rise and fall, without strict',
    text: `{ "services": { "ssh": { "ports": [22], "sequence": [1000, 3000, 2000] } }, "strict": false }`,
  },
  {
    name: 'the same knock again, but not in a row',
    text: withService('"ports": [22],', '"sequence": [1000, 2000, 1000]'),
  },
  {
    name: 'a knock on the number of a guarded port in the other protocol',
    text: withService('"ports": [22],', '"sequence": [1000, "22/udp", 3000]'),
  },
  {
    name: 'sequences that begin alike',
    text: withService('"ports": [22],', '"sequences": { "a": [1000, 2000, 500], "b": [1000, 2000, 700] }'),
  },
  {
    name: 'two services that knock on the same ports',
    text: `{ "services": { "a": { "ports": [22], "sequence": [7, 9, 1] }, "b": { "ports": [23], "sequence": [9, 7, 1] } } }`,
  },
  {
    name: 'room for as many clients as a sequence has knocks',
    text: withKey('"limits": { "progress": 4 },'),
  },
  { name: 'networks of many addresses in allow', text: withKey('"allow": ["0.0.0.0/1", "2000::/3"],') },
  { name: 'public ports that overlap', text: withKey('"public": [80, "80-90/tcp", 80, "80/udp"],') },
];
for (const { name, text } of CLEAN) {
  t.test(`nothing is wrong with ${name}`, t => {
    t.same(problemsOf(text), []);
    t.end();
  });
}

t.test('all errors are reported at once, before the warnings, each in the order of the file', t => {
  const problems = problemsOf(`{
  "services": {
    "ssh": { "ports": [0], "sequence": [1000, 2000] },
    "web": { "ports": [443], "sequence": [443, 1, 70000], "openFor": "0s" },
    "dns": { "ports": ["53/udp"], "sequence": [700, 701, 50] },
  },
  "table": "inet",
}`);
  const places = problems.map(problem => `${problem.severity} ${problem.line}:${problem.column}`);
  t.same(places, [
    'error 3:24',
    'error 4:43',
    'error 4:51',
    'error 4:70',
    'error 7:12',
    'warning 3:40',
    'warning 5:53',
  ]);
  t.end();
});

t.test('several conflicts of one port are each told', t => {
  const problems = problemsOf(`{
  "public": [22],
  "services": { "a": { "ports": ["20-30/tcp"], "sequence": [7000, 25, 22] } },
}`);
  t.same(
    problems.map(problem => `${problem.line}:${problem.column} ${problem.message.split(';')[0]}`),
    [
      '3:34 services.a.ports: 20-30/tcp is also in public (line 2)',
      '3:67 services.a.sequence: knock 2 is a port of services.a.ports (line 3)',
      '3:71 services.a.sequence: knock 3 is a port of services.a.ports (line 3)',
      '3:71 services.a.sequence: knock 3 is a port of public (line 2)',
    ],
  );
  t.end();
});

t.test('a conflict with a range is found wherever earlier ranges overlap', t => {
  const problems = problemsOf(`{ "services": { "a": { "sequence": [7000, 9000, 8000],
    "ports": [
      100,
      "100-200/tcp",
      150,
      "50-300/tcp",
      300,
      301
    ] } } }`);
  t.same(
    problems.map(problem => problem.line),
    [4, 5, 6, 7],
  );
  t.end();
});

t.test('a message is one line: FILE:LINE:COLUMN, severity, text', t => {
  const [problem] = problemsOf('{ "services": {} }');
  t.equal(
    problem && formatProblem(problem),
    'FILE:1:15: warning: services: there is no service, so no port is guarded',
  );
  t.throws(() => parseConfig('[]', '/etc/knockd-nft.json', {}), {
    message: '/etc/knockd-nft.json:1:1: the file: this is an array; expected an object',
  });
  t.end();
});

t.test('control characters of the file do not reach the terminal', t => {
  const text = withKey('"table": "\\u001b[31m\\u009b\\u202e"');
  t.notMatch(problemsOf(text).map(formatProblem).join(''), /[^ -~]/);
  t.end();
});

t.test('a wrong variable is named, and has no line', t => {
  const problems = problemsOf(withKey(''), { KNOCKD_NFT_LOG_LEVEL: 'loud', KNOCKD_NFT_LOG_FORMAT: 'xml' });
  t.match(problems.map(formatProblem), [
    /^KNOCKD_NFT_LOG_LEVEL: log\.level: "loud" is wrong; expected "trace"/,
    /^KNOCKD_NFT_LOG_FORMAT: log\.format: "xml" is wrong; expected "auto", "json" or "text"/,
  ]);
  t.same(
    problems.map(problem => problem.line),
    [null, null],
  );
  t.end();
});

t.test('no message prints the ports of a sequence', t => {
  const secret = ['41234', '42345', '43456'];
  const list = secret.join(', ');
  const texts = [
    withService('"ports": [22],', `"sequence": "${list}"`),
    withService('"ports": [22],', `"sequences": "${list}"`),
    withService('"ports": [22],', `"sequence: [${list}]": 1`),
    withService('"ports": [22],', `"${list}": 1, "${list}": 2`),
    withService('"ports": [22],', `"sequences": { "${list}": 1 }`),
    withService('"ports": [22],', `"sequence": [${list}, 0, "x"]`),
    withService('"ports": [22],', `"sequence": [${list}, 43456, 43457]`),
    withService('"ports": [22],', `"sequence": ["41234-42345/tcp", "42345", 43456.5]`),
    withService('"ports": [22],', `"sequence": [${list}`),
    withService('"ports": ["40000-50000/tcp"],', `"sequence": [${list}]`),
    withService(`"sequence": [${list}],`, '"ports": ["40000-50000/tcp"]'),
    withService('"ports": [22],', `"sequences": { "a": [${list}], "b": [${list}], "c": [${list}, 1] }`),
    `{ "services": { "ssh": "${list}" } }`,
    `{ "services": "${list}" }`,
    `"${list}"`,
  ];
  for (const text of texts) {
    const told = problemsOf(text).map(formatProblem).join('\n');
    t.ok(told.length > 0);
    for (const port of secret) t.notMatch(told, port);
  }
  t.end();
});

t.test('ten thousand sequences that conflict are reported one by one', t => {
  const users = Array.from(
    { length: 10_000 },
    (_, user) => `"u${user}": [1, ${user < 5000 ? 22 : 30}, ${1000 + user}]`,
  );
  const problems = problemsOf(withService('"ports": [22],', `"sequences": {${users.join(',\n')}}`));
  t.equal(problems.filter(problem => problem.severity === 'error').length, 5000);
  t.end();
});
