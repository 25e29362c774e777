import type { Plot } from './plot.ts';
import type { Program } from './program.ts';
import type { Stage } from './stage.ts';
import type { Teller } from './teller.ts';

/** Everything that the story needs. */
export interface Scene {
  readonly plot: Plot;
  readonly stage: Stage;
  readonly program: Program;
  /** Name and text of the configuration. */
  readonly name: string;
  readonly text: string;
  readonly tell: Teller;
}
