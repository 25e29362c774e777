import type { CommandSpec } from './command.ts';
import { EXIT } from './context.ts';
import { KNOCKD_OPTIONS, refuseKnockdOptions } from './knockd-words.ts';

/** The commands of `dist/client.cjs`. The whole program has them, too. */
export const CLIENT_COMMANDS: readonly CommandSpec[] = [
  {
    group: "The client's side",
    usage: 'knock <host> [knocks...]',
    anywhere: true,
    summary: 'knock on a host; hosts.json may know its knocks',
    description: 'knock on a host; without knocks, those of ~/.config/knockd-nft/hosts.json',
    example: 'knockd-nft knock bastion 10000 2345/udp 3456 --wait 22',
    options: [
      ['--wait [port]', 'knock until a connection to the TCP port succeeds (uses up a singleUse opening)'],
      ['--gap <duration>', 'pause between two knocks (default: 200ms)'],
      ['--timeout <duration>', 'how long to wait, knocking again (default: 15s)'],
      ...KNOCKD_OPTIONS,
    ],
    run: async (context, options, words) => {
      refuseKnockdOptions(options);
      return (await import('./knock.ts')).knockCommand(context, words, options);
    },
  },
  {
    group: "The client's side",
    usage: 'proxy <host> <port> [knocks...]',
    anywhere: true,
    summary: 'connect to a guarded port, for ssh: knock if it is closed',
    description: 'connect stdin and stdout to a guarded port, and knock if it is closed',
    example: "ssh -o ProxyCommand='knockd-nft proxy %h %p' bastion",
    unread: EXIT.DONE,
    options: [
      ['--gap <duration>', 'pause between two knocks (default: 200ms)'],
      ['--timeout <duration>', 'how long to wait, knocking again (default: 15s)'],
    ],
    run: async (context, options, words) =>
      (await import('./proxy.ts')).proxyCommand(context, words, options),
  },
  {
    group: "The client's side",
    usage: 'page',
    anywhere: true,
    summary: 'print a web page that knocks with tokens',
    description: 'print a web page that knocks with tokens, for a phone or any browser',
    example: 'knockd-nft page --host bastion >bastion.html',
    options: [
      ['--host <host>', 'the host to knock on: an entry of hosts.json, or an address'],
      ['--service <name>', 'the service, unless hosts.json has it'],
      ['--realm <name>', 'the realm of the server (default: "default")'],
      ['--port <port>', 'where the server expects tokens (default: 62201)'],
      ['--secret-file <file>', 'a file with the secret, unless hosts.json has it'],
      ['--url <url>', 'the URL to open afterwards'],
      ['--open-for <duration>', 'how long the port stays open (default: 10s)'],
    ],
    run: async (context, options) =>
      (await import('./page.ts')).pageCommand(context, { ...options, service: options.service?.toString() }),
  },
];
