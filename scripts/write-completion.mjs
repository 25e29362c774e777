/** Writes completion/_knockd-nft (zsh) and completion/knockd-nft.fish from the table of commands; build first. With
 * `--check` it writes nothing, and fails if they differ.
 */
import { readFileSync, writeFileSync } from 'node:fs';
import { COMMANDS } from '../build/src/cli/commands.js';
import { EVENTS } from '../build/src/events/event.js';

const BY = 'Written by scripts/write-completion.mjs from src/cli/commands.ts.';
const HELP = { usage: 'help [command]', description: 'show what a command does, and its options' };
const GLOBAL = [
  ['-c, --config <file>', 'the configuration'],
  ['--json', 'print the result as JSON'],
  ['--help', 'show what it does, and its options'],
];

/** The kind of word that may replace this word of the usage. */
const KINDS = {
  file: 'files',
  service: 'services',
  user: 'users',
  'address|user': 'users',
  host: 'hosts',
  command: 'commands',
  'command...': 'programs',
  action: 'actions',
  event: 'events',
};
/** The same for the value of an option. `--tokens` takes the name of a new user. */
const VALUES = { file: 'files', host: 'hosts', service: 'services' };
const ACTIONS = ['add', 'rotate', 'remove', 'show'];

/** `--for <duration>`: its names, and the kind of its value; undefined if it has none. */
function parseFlags(flags) {
  const [, names, value] = flags.match(/^((?:-\S+,? ?)+?)(?: ?[<[](.*?)[>\]])?$/);
  return { names: names.trim().split(', '), value, optional: flags.includes('[') };
}

const commands = [...COMMANDS.filter(({ hidden }) => !hidden), HELP].map(
  ({ usage, summary, description, options = [] }) => {
    const [name, ...operands] = usage.split(' ');
    return {
      name,
      text: summary ?? description,
      operands: operands.map(word => word.replace(/[<>[\]]/g, '')),
      options: [
        ...options.filter(([, text]) => text !== undefined),
        ...(usage === HELP.usage ? [] : GLOBAL),
      ].map(([flags, text]) => ({ ...parseFlags(flags), text })),
    };
  },
);

/** A word in single quotes, for zsh and, but for its backslashes, for fish. */
const quoted = text => `'${text.replaceAll("'", "'\\''")}'`;

function zsh() {
  const explained = text => text.replace(/[[\]:\\]/g, '\\$&');
  const action = (kind, index) =>
    ({
      files: '_files',
      services: ' _knockd_nft_words services',
      users: ` _knockd_nft_words users "$line[${index}]"`,
      hosts: ' _knockd_nft_words hosts',
      commands: '_knockd_nft_commands',
      actions: `(${ACTIONS.join(' ')})`,
      events: `(${Object.keys(EVENTS).join(' ')})`,
      programs: ' _normal',
    })[kind] ?? ' ';
  const option = ({ names, value, optional, text }) => {
    const valued =
      value === undefined
        ? ''
        : `${optional ? '::' : ':'}${value.replace(/[:=]/g, '\\$&')}:${optional ? ' ' : action(VALUES[value])}`;
    const long = names.at(-1);
    const spec = quoted(`${value !== undefined && !optional ? '=' : ''}[${explained(text)}]${valued}`);
    return names.length > 1 ? `'(${names.join(' ')})'{${names[0]},${long}}${spec}` : `${long}${spec}`;
  };
  const operand = (word, index) => {
    const place = KINDS[word] === 'programs' ? '*::' : `${index + 1}:`; // a program has words of its own
    return quoted(`${place}${explained(word.replace('...', ''))}:${action(KINDS[word], index)}`);
  };
  const branch = ({ name, operands, options }) => [
    `    ${name})`,
    `      _arguments -S ${[...options.map(option), ...operands.map(operand)].join(' \\\n        ')}`,
    '      ;;',
  ];
  return `#compdef knockd-nft
# Completion of knockd-nft's words in zsh, for a folder of $fpath. ${BY}

# Asks the program itself, with the --config of the line; prints nothing if the program does not.
_knockd_nft_words() {
  local -a found
  found=(\${(f)"$($_knockd_nft_program $_knockd_nft_config complete "$@" </dev/null 2>/dev/null)"})
  compadd -a found
}

_knockd_nft_commands() {
  local -a commands=(
${commands.map(({ name, text }) => `    ${quoted(`${name}:${text}`)}`).join('\n')}
  )
  _describe command commands
}

_knockd-nft() {
  local curcontext=$curcontext context state state_descr line
  local -a _knockd_nft_program=($words[1]) _knockd_nft_config=()
  local -A opt_args
  local -i at
  for ((at = 2; at < CURRENT; at++)); do
    case $words[at] in
      -c | --config) _knockd_nft_config=(--config \${~words[at+1]}) ;;
      --config=*) _knockd_nft_config=(--config \${~words[at]#--config=}) ;;
    esac
  done
  _arguments -S -C ${GLOBAL.filter(([flags]) => flags !== '--json')
    .map(([flags, text]) => option({ ...parseFlags(flags), text }))
    .join(' ')} '--version[the version]' \\
    '1:command:_knockd_nft_commands' '*::argument:->argument' && return
  [[ $state == argument ]] || return 1
  case $words[1] in
${commands.flatMap(branch).join('\n')}
  esac
}

_knockd-nft "$@"
`;
}

function fish() {
  const text = words => quoted(words).replaceAll("'\\''", "\\'");
  const ask = {
    services: '(__knockd_nft_ask services)',
    users: '(__knockd_nft_ask users (__knockd_nft_operands)[-1])',
    hosts: '(__knockd_nft_ask hosts)',
    commands: commands.map(({ name }) => name).join(' '),
    actions: ACTIONS.join(' '),
    events: Object.keys(EVENTS).join(' '),
    programs: '(__fish_complete_command)',
  };
  const valued = [
    ...new Set(
      commands.flatMap(({ options }) =>
        options.flatMap(({ names, value, optional }) => (value !== undefined && !optional ? names : [])),
      ),
    ),
  ];
  const argument = kind => (kind === 'files' ? ' -F' : kind ? ` -f -a '${ask[kind]}'` : ' -f');
  const option =
    name =>
    ({ names, value, optional, text: words }) => {
      const spelled = names
        .map(it => (it.startsWith('--') ? `-l ${it.slice(2)}` : `-s ${it.slice(1)}`))
        .join(' ');
      const takes = value === undefined || optional ? '' : ` -r${argument(VALUES[value])}`;
      return `complete -c knockd-nft -n '__knockd_nft_at ${name}' ${spelled}${takes} -d ${text(words)}`;
    };
  const operand = name => (word, index) =>
    KINDS[word]
      ? [`complete -c knockd-nft -n '__knockd_nft_at ${name} ${index}'${argument(KINDS[word])}`]
      : [];
  return `# Completion of knockd-nft's words in fish, for a folder of $fish_complete_path. ${BY}

# The words before the cursor without options and their values: the command and its operands.
function __knockd_nft_operands
    set -l skip
    for word in (commandline -opc)[2..]
        if set -q skip[1]
            set -e skip
        else if contains -- $word ${valued.join(' ')}
            set skip 1
        else if not string match -q -- '-*' $word
            echo -- $word
        end
    end
end

# Whether the line has this command, or none for '', and this number of operands, if it is given.
function __knockd_nft_at
    set -l operands (__knockd_nft_operands)
    test "$operands[1]" = "$argv[1]"; or return 1
    not set -q argv[2]; or test (count $operands[2..]) -eq $argv[2]
end

# Asks the program itself, with the --config of the line; prints nothing if the program does not.
function __knockd_nft_ask
    set -l words (commandline -opc)
    set -l config
    for at in (seq 2 (count $words))
        switch $words[$at]
            case -c --config
                set config --config $words[(math $at + 1)]
            case '--config=*'
                set config (string split -m 1 = -- $words[$at])
        end
    end
    $words[1] $config complete $argv </dev/null 2>/dev/null
end

complete -c knockd-nft -f
complete -c knockd-nft -n "__knockd_nft_at ''" -s c -l config -r -F -d 'the configuration'
complete -c knockd-nft -n "__knockd_nft_at ''" -l help -d 'show what it does, and its options'
complete -c knockd-nft -n "__knockd_nft_at ''" -l version -d 'the version'
${commands.map(({ name, text: words }) => `complete -c knockd-nft -n "__knockd_nft_at ''" -a ${name} -d ${text(words)}`).join('\n')}
${commands.flatMap(({ name, operands, options }) => [...options.map(option(name)), ...operands.flatMap(operand(name))]).join('\n')}
`;
}

for (const [name, text] of [
  ['_knockd-nft', zsh()],
  ['knockd-nft.fish', fish()],
]) {
  const file = new URL(`../completion/${name}`, import.meta.url);
  if (process.argv[2] !== '--check') writeFileSync(file, text);
  else if (readFileSync(file, 'utf8') !== text) {
    process.stderr.write(`completion/${name} differs from the table of commands: npm run completion\n`);
    process.exitCode = 1;
  }
}
