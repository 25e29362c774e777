import { CLIENT_COMMANDS } from './client-commands.ts';
import type { CommandSpec } from './command.ts';
import { EXIT, UsageError } from './context.ts';

const ALL: readonly CommandSpec[] = [
  {
    group: 'The configuration',
    usage: 'check [file]',
    anywhere: true,
    description: 'validate a configuration and say what it means',
    example: 'knockd-nft check ./new.json',
    options: [['--reload']],
    run: async (context, { reload = false }, [file]) =>
      (await import('./check.ts')).checkCommand(context, file, reload),
  },
  {
    group: 'The kernel',
    usage: 'load',
    description: 'make the kernel match the configuration',
    example: 'sudo knockd-nft load',
    options: [
      ['--last-good', 'if the file is not valid, load the last good one'],
      ['--force', 'even if it was tried and not confirmed, or if a supervisor follows another file'],
    ],
    run: async (context, { lastGood = false, force = false }) =>
      (await import('./load.ts')).loadCommand(context, { lastGood, force }),
  },
  {
    group: 'The kernel',
    usage: 'unload',
    description: 'remove the table: nothing is guarded any more',
    example: 'sudo knockd-nft unload',
    options: [['--force', 'even if a supervisor runs; it then waits for the next load']],
    run: async (context, { force = false }) => (await import('./unload.ts')).unloadCommand(context, force),
  },
  {
    group: 'The configuration',
    usage: 'render [file]',
    anywhere: true,
    description: 'print the ruleset as an nft script',
    example: 'knockd-nft render | sudo nft -c -f -',
    run: async (context, _, [file]) => (await import('./render.ts')).renderCommand(context, file),
  },
  {
    group: 'The kernel',
    usage: 'diff',
    description: 'show what load would change; exit with 1 if anything',
    example: 'sudo knockd-nft diff',
    options: [['--nft', 'show the transaction as nft commands, with the sequences']],
    failed: 2,
    run: async (context, { nft = false }) => (await import('./diff.ts')).diffCommand(context, { nft }),
  },
  {
    group: 'Clients',
    usage: 'status',
    description: 'show clients that are in or knock, and counters',
    example: 'sudo knockd-nft status',
    options: [['--check', 'for a monitor such as Nagios: one line, and exit status 0, 1, 2 or 3']],
    run: async (context, { check = false }) =>
      (await import('./status.ts')).statusCommand(context, { check }),
  },
  {
    group: 'The kernel',
    usage: 'run',
    description: 'run the supervisor, which keeps kernel and file in step',
    example: 'sudo knockd-nft --config ./knockd-nft.json run',
    run: async context => (await import('./run.ts')).runCommand(context),
  },
  {
    group: 'Safe changes',
    usage: 'try [file]',
    summary: 'load a candidate; undo that unless confirmed in time',
    description: 'load a candidate, and undo that unless it is confirmed in time',
    example: 'sudo knockd-nft try /etc/knockd-nft.json.new --for 1m',
    options: [['--for <duration>', 'how long to wait for the confirmation (default: 30s)']],
    run: async (context, { for: duration }, [file]) =>
      (await import('./try.ts')).tryCommand(context, file, duration),
  },
  {
    group: 'Safe changes',
    usage: 'confirm',
    description: 'keep the candidate; run this from a new login',
    example: 'sudo knockd-nft confirm',
    options: [['--force', 'even over an old connection, or one from this host itself']],
    run: async (context, { force = false }) => (await import('./confirm.ts')).confirmCommand(context, force),
  },
  {
    group: 'Safe changes',
    usage: 'undo',
    description: 'undo the trial at once',
    example: 'sudo knockd-nft undo',
    options: [['--id <id>'], ['--after <milliseconds>']],
    run: async (context, { id, after = '0' }) => {
      const { undoCommand, undoLater } = await import('./undo.ts');
      return id === undefined ? undoCommand(context) : undoLater(context, id, Number(after));
    },
  },
  {
    group: 'Clients',
    usage: 'grant <service> <address>',
    description: 'let a client in without a knock, or for longer',
    example: 'sudo knockd-nft grant ssh 192.0.2.7 --for 1h',
    options: [['--for <duration>', 'how long: 30s, 2h (default: openFor of the service)']],
    run: async (context, options, [service = '', address = '']) =>
      (await import('./grant.ts')).grantCommand(context, service, address, options.for),
  },
  {
    group: 'Clients',
    usage: 'revoke [service] [address|user]',
    description: 'take back what a knock or a grant opened',
    example: 'sudo knockd-nft revoke ssh 192.0.2.7 --cut',
    options: [
      ['--all', 'all clients, of one service or of all'],
      ['--cut', 'end their connections, too; otherwise these go on'],
    ],
    run: async (context, { all = false, cut = false }, words) =>
      (await import('./revoke.ts')).revokeCommand(context, words, { all, cut }),
  },
  {
    group: 'Clients',
    usage: 'watch',
    description: 'show clients that are in or knock, and counters, live',
    example: 'sudo knockd-nft watch',
    options: [['--interval <duration>', 'the pause between two readings (default: 1s)']],
    unread: EXIT.DONE,
    run: async (context, { interval = '1s' }) => (await import('./watch.ts')).watchCommand(context, interval),
  },
  {
    group: 'For other programs',
    usage: 'on <event> <command...>',
    summary: 'run a command for each event',
    description: 'run a command for each event that the supervisor reports, such as "opened"',
    example: 'knockd-nft on opened --service ssh -- logger -t door "somebody is in"',
    options: [
      ['--service <service>', 'only events of this service'],
      ['--timeout <duration>', 'end a command after this time (default: 30s)'],
      ['--at-once <number>', 'how many commands may run at the same time (default: 4)'],
    ],
    run: async (context, { service, ...options }, words) =>
      (await import('./on.ts')).onCommand(context, words, {
        ...options,
        ...(typeof service === 'string' && { service }),
      }),
  },
  {
    group: 'For other programs',
    usage: 'metrics',
    description: 'print the metrics, as OpenMetrics',
    example: 'sudo knockd-nft metrics',
    run: async context => (await import('./metrics.ts')).metricsCommand(context),
  },
  {
    group: 'The configuration',
    usage: 'init',
    summary: 'write a first configuration, with random secrets',
    description: 'write a first configuration that fits this host, with one-time tokens or a random sequence',
    example: 'sudo knockd-nft init --service ssh web=80,443',
    options: [
      ['--service <name=ports...>', 'what to hide (default: ssh, where it listens)'],
      ['--tokens <user>', 'make one-time tokens for this user'],
      ['--knocks <number>', 'the number of knocks in the random sequence (default: 4)'],
      ['--allow <address...>', 'addresses that need no knock: your way back in'],
      ['--force', 'replace an existing file and keep a copy; under a supervisor, write FILE.new'],
      ['--yes', 'ask nothing, as without a terminal; make a sequence unless there is --tokens'],
    ],
    run: async (context, { service, ...options }) =>
      (await import('./init.ts')).initCommand(context, {
        ...options,
        ...(service !== undefined && { service: [service].flat() }),
      }),
  },
  {
    group: 'The configuration',
    usage: 'user <action> <service> <user>',
    summary: 'add, rotate, remove or show a user',
    description: 'add, rotate, remove or show a user, and print what the client needs',
    example: 'sudo knockd-nft user add ssh alice --host bastion.example.org',
    options: [
      ['--sequence', 'with add: make a sequence instead of one-time tokens'],
      ['--knocks <number>', 'how many knocks a sequence has (default: 4)'],
      ['--host <name>', 'the name or address that clients use for this server'],
      ['--page <url>', 'the URL of the page that knocks, to print a link for a phone'],
      ['--qr', 'print the link as a QR code even without a terminal'],
    ],
    run: async (context, options, words) => (await import('./user.ts')).userCommand(context, words, options),
  },
  {
    group: 'The configuration',
    usage: 'import <file>',
    anywhere: true,
    summary: 'turn a knockd.conf into a configuration',
    description: 'turn a knockd.conf into a configuration, and say what differs',
    example: 'knockd-nft import /etc/knockd.conf >knockd-nft.json',
    run: async (context, _, [file = '']) => (await import('./import.ts')).importCommand(context, file),
  },
  ...CLIENT_COMMANDS,
  {
    group: 'More',
    usage: 'doctor',
    summary: 'find what keeps clients out or lets strangers in',
    description: 'look for what keeps clients out or lets strangers in, and say what to do',
    example: 'sudo knockd-nft doctor --trace 192.0.2.7',
    options: [
      ['--trace <address>', 'watch this client while it knocks and connects'],
      ['--for <duration>', 'how long to watch (default: 30s)'],
    ],
    run: async (context, { trace, for: duration }) => {
      if (trace !== undefined)
        return (await import('./doctor-trace.ts')).doctorTraceCommand(context, trace, duration);
      if (duration !== undefined) throw new UsageError('--for belongs to --trace ADDRESS');
      return (await import('./doctor.ts')).doctorCommand(context);
    },
  },
  {
    group: 'More',
    usage: 'demo',
    description: 'show it all at work, in a network namespace',
    example: 'knockd-nft demo',
    unread: EXIT.FAILED,
    run: async context => (await import('./demo.ts')).demoCommand(context),
  },
  {
    group: 'The kernel',
    usage: 'tokens',
    description: 'top up the one-time tokens in the kernel; does nothing if a supervisor runs',
    example: 'knockd-nft tokens',
    hidden: true,
    run: async context => (await import('./tokens.ts')).tokensCommand(context),
  },
  {
    group: 'More',
    usage: 'setup',
    description: 'prepare an installed package: write a first configuration that the services can read',
    example: 'knockd-nft setup --first',
    options: [['--first'], ['--next']],
    hidden: true,
    run: async (context, { first = false, next = false }) => {
      const { prepareCommand, nextCommand } = await import('./setup.ts');
      return next ? nextCommand(context) : prepareCommand(context, first);
    },
  },
  {
    group: 'More',
    usage: 'complete <kind> [service]',
    anywhere: true,
    description: 'print words for the completion of a shell: services, users of a service, or hosts',
    example: 'knockd-nft complete services',
    hidden: true,
    run: async (context, _, words) => (await import('./complete.ts')).completeCommand(context, words),
  },
];

/** All commands, in the order of the help. */
export const COMMANDS = ALL.map(spec => (spec.anywhere ? spec : onServer(spec)));

/** A command that works only on a server says so on other machines, before it does anything. */
function onServer(spec: CommandSpec): CommandSpec {
  return {
    ...spec,
    run: async (...parameters) => {
      const { unsupported, UnsupportedError } = await import('../netlink/supported.ts');
      const why = await unsupported();
      if (why !== undefined) throw new UnsupportedError(why);
      return spec.run(...parameters);
    },
  };
}
