import { styleText } from 'node:util';
import { harmless, ours } from './harmless.ts';

/** Adds colour to a text, or does not. Only {@link writeLines} and the live screen show the colours. */
export type Paint = typeof styleText;

/** Whether the stream is a screen on which the cursor can be moved. */
export function isTerminal(env: NodeJS.ProcessEnv, { isTTY }: NodeJS.WriteStream = process.stdout): boolean {
  return isTTY && env.TERM !== 'dumb';
}

/** Colours only on a terminal, and never with NO_COLOR. Other variables that Node.js may obey (`CI`) do not count. */
export function painter(env: NodeJS.ProcessEnv, stream: NodeJS.WriteStream = process.stdout): Paint {
  // before Node.js 20.12 there is no styleText
  const coloured = isTerminal(env, stream) && !env.NO_COLOR && typeof styleText === 'function';
  return (style, text) =>
    coloured ? ours(styleText(style, harmless(text), { validateStream: false })) : text;
}
