/** The configuration file of a soak: three services that always stay, others that come and go, and settings that change. */
import { renameSync, rmSync, writeFileSync } from 'node:fs';
import { setTimeout as delay } from 'node:timers/promises';
import type { Numbers } from '../numbers.ts';
import type { Rules } from './timeline.ts';

export const USERS = ['phone', 'laptop', 'tablet', 'desktop'] as const;
export type User = (typeof USERS)[number];
export const SECRETS = Object.fromEntries(
  USERS.map((user, index) => [user, `${index + 1}a`.repeat(32)]),
) as Readonly<Record<User, string>>;
/** How long tokens stand ready. */
export const HOURS = 2;

export const PORTS = { ssh: 22, web: 8443, once: 2200 } as const;
export type Service = keyof typeof PORTS;
export const KNOCKS = {
  ssh: [10000, 2345, 3456, 1234],
  once: [7001, 7003, 7005],
} as const satisfies Partial<Record<Service, readonly number[]>>;
/** Open to all, whatever the file says. */
export const PUBLIC = 9100;
/** Of the services that come and go. */
export const OTHER_PORTS = [9001, 9002, 9003, 9004, 9005, 9006] as const;

interface Other {
  readonly name: string;
  readonly port: number;
  readonly sequence: readonly number[];
}

interface Draft {
  openFor: number;
  knockTimeout: number;
  others: readonly Other[];
  settings: Readonly<Record<string, unknown>>;
}

/** The file's contents from one edit to the next. */
export class File {
  readonly #path: string;
  readonly #next: Numbers;
  #edits = 0;
  #draft: Draft = { openFor: 8, knockTimeout: 5, others: [], settings: {} };

  constructor(path: string, next: Numbers) {
    this.#path = path;
    this.#next = next;
  }

  get text(): string {
    const { openFor, knockTimeout, others, settings } = this.#draft;
    const file = {
      services: {
        ssh: { ports: [PORTS.ssh], sequence: KNOCKS.ssh, openFor, knockTimeout },
        web: { ports: [PORTS.web], tokens: SECRETS, openFor },
        once: { ports: [PORTS.once], sequence: KNOCKS.once, openFor, knockTimeout, singleUse: true },
        ...Object.fromEntries(others.map(({ name, port, sequence }) => [name, { ports: [port], sequence }])),
      },
      public: [PUBLIC],
      token: { hours: HOURS },
      ...settings,
    };
    return `// edit ${this.#edits}\n${JSON.stringify(file, null, 2)}\n`;
  }

  /** The promises of the file. */
  get rules(): Rules {
    const { openFor, others, settings } = this.#draft;
    return {
      guarded: new Set([...Object.values(PORTS), ...others.map(({ port }) => port)]),
      openFor,
      hook: String(settings.hook ?? 'input'),
      table: this.table,
    };
  }

  /** The table's name. */
  get table(): string {
    return String(this.#draft.settings.table ?? 'knockd');
  }

  /** Changes one to three things. Returns what, in words. The file itself stays as it is. */
  change(): string {
    this.#edits++;
    const changes = Array.from({ length: 1 + this.#next.below(3) }, () => this.#changeOne());
    return changes.join(', ');
  }

  #changeOne(): string {
    const draft = this.#draft;
    const { others } = draft;
    const next = this.#next;
    const set = (key: string, value: unknown) => {
      draft.settings = { ...draft.settings, [key]: value };
      return `${key}: ${JSON.stringify(value)}`;
    };
    const [first] = others;
    switch (next.below(12)) {
      case 0:
      case 1: {
        const free = OTHER_PORTS.find(port => others.every(other => other.port !== port));
        if (free === undefined) return 'nothing';
        const added = { name: `other${this.#edits}`, port: free, sequence: this.#sequence(free) };
        draft.others = [...others.filter(({ name }) => name !== added.name), added];
        return `${added.name} added`;
      }
      case 2:
        draft.others = others.slice(1);
        return first ? `${first.name} removed` : 'nothing';
      case 3: {
        if (!first) return 'nothing';
        const name = `renamed${this.#edits}`;
        draft.others = [...others.slice(1).filter(other => other.name !== name), { ...first, name }];
        return `${first.name} renamed`;
      }
      case 4:
        draft.openFor = next.of([6, 8, 12]);
        return `openFor ${draft.openFor}`;
      case 5:
        draft.knockTimeout = next.of([4, 5, 30]);
        return `knockTimeout ${draft.knockTimeout}`;
      case 6:
        return set('closed', next.of(['drop', 'reject', 'prohibited']));
      case 7:
        return set('policy', next.of(['accept', 'drop']));
      case 8:
        return set('hook', next.of(['input', 'prerouting']));
      case 9:
        return set('table', next.of(['knockd', 'door']));
      case 10:
        return set(next.of(['strict', 'metrics']), next.chance(0.5));
      default:
        return set(
          'allow',
          Array.from({ length: next.below(4) }, (_, index) => `192.0.2.${index * 8}/30`),
        );
    }
  }

  /** Ports that no other service knocks on. */
  #sequence(port: number): readonly number[] {
    const first = 20_000 + (port - OTHER_PORTS[0]) * 100;
    return [0, 1, 2].map(knock => first + knock * 30 + this.#next.below(30));
  }

  /** Saves it in one of the ways of editors and programs. Returns which. */
  async save(text = this.text): Promise<string> {
    const path = this.#path;
    const mode = { mode: 0o640 };
    const way = this.#next.of(['renamed', 'in place', 'in two pieces', 'removed and written']);
    switch (way) {
      case 'renamed':
        writeFileSync(`${path}~`, text, mode);
        renameSync(`${path}~`, path);
        break;
      case 'in two pieces':
        writeFileSync(path, text.slice(0, text.length / 2), mode);
        await delay(30);
        writeFileSync(path, text, mode);
        break;
      case 'removed and written':
        rmSync(path, { force: true });
        await delay(30);
        writeFileSync(path, text, mode);
        break;
      case 'in place':
        writeFileSync(path, text, mode);
    }
    return way;
  }

  /** A text that is no configuration. */
  broken(): string {
    const { text } = this;
    return this.#next.of([
      text.slice(0, text.length / 3),
      `${text}]`,
      text.replace('"ports"', '"prots"'),
      text.replace(/"openFor": \d+/, '"openFor": "soon"'),
      '',
    ]);
  }
}
