/** `dist/client.cjs`: what a client needs, in a tenth of the text, so that each login begins sooner. */
import { CLIENT_COMMANDS } from './cli/client-commands.ts';
import { runProgram } from './cli/program.ts';

void runProgram("The client's side of knockd-nft. A server has all commands.", CLIENT_COMMANDS);
