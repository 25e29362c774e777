// supervisor/ keeps three things in step: the file, what was last loaded from it, and the kernel.
// intent.ts decides, and is pure. The other files watch, load, report and remember for it.
// Floor 7: it imports only from rooms on lower floors.

import { type InterfaceTroubles, interfaceTroubles } from '../host/interfaces.ts';

/** How often to check which interfaces are here, in milliseconds. Other programs may make and remove them at any time. */
const PAUSE = 30_000;

/** Whether packets come in by the `interfaces` of the configuration in force. */
export class Around {
  readonly #tell: (text: string) => void;
  #interfaces: readonly string[] = [];
  #told: readonly string[] = [];
  #again = 0;
  #isNowhere = false;

  /** `tell` gets each problem once for each configuration, and again if it comes back. */
  constructor(tell: (text: string) => void) {
    this.#tell = tell;
  }

  /** No packet comes in by any of them, so nothing is guarded. */
  get isNowhere(): boolean {
    return this.#isNowhere;
  }

  /** Another configuration is in force. `found` is from when it was loaded. */
  begin(interfaces: readonly string[], found: InterfaceTroubles, now: number): void {
    this.#interfaces = interfaces;
    this.#told = [];
    this.#take(found, now);
  }

  /** Looks if it is time. */
  async look(now: number): Promise<void> {
    if (now < this.#again) return;
    this.#again = now + PAUSE;
    const interfaces = this.#interfaces;
    const found = await interfaceTroubles({ interfaces });
    if (interfaces === this.#interfaces) this.#take(found, now); // else another configuration came meanwhile
  }

  #take({ texts, isNowhere = this.#isNowhere }: InterfaceTroubles, now: number): void {
    for (const text of texts) if (!this.#told.includes(text)) this.#tell(text);
    this.#told = texts;
    this.#isNowhere = isNowhere;
    this.#again = now + PAUSE;
  }
}
