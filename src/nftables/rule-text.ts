import { DATATYPES, type Datatype } from './datatype.ts';
import { type Register, register, VERDICT } from './register.ts';

/** The content of a register in nft's words: something of the packet, or a constant. */
type Operand =
  | { readonly text: string; readonly type: Datatype; readonly mask?: Buffer }
  | { readonly constant: Buffer };

type Loaded = Exclude<Operand, { constant: Buffer }>;

/** The properties of a set that the text of a rule depends on. */
type Typed = { readonly types: readonly Datatype[]; readonly data?: Datatype | typeof VERDICT };

/**
 * The words of one rule, gathered while its expressions are read one after the other. Registers hold text instead of bytes.
 *
 * `meta nfproto ipv4` and `meta l4proto tcp` are written only if no later word implies them (`ip saddr`, `tcp dport`),
 * since nft puts them in front of those words by itself.
 */
export class RuleText {
  readonly #sets: ReadonlyMap<string, Typed>;
  readonly #registers = new Map<Register, Operand>();
  readonly #protocols = new Set<string>();
  readonly #words: { readonly text: string; readonly protocol?: string }[] = [];

  constructor(sets: ReadonlyMap<string, Typed>) {
    this.#sets = sets;
  }

  say(text: string): void {
    this.#words.push({ text });
  }

  /** From here on packets are of this protocol. The text says so unless a later word implies it. */
  learn(protocol: string, text: string): void {
    this.#protocols.add(protocol);
    this.#words.push({ text, protocol });
  }

  knows(protocol: string): boolean {
    return this.#protocols.has(protocol);
  }

  /** Removes the protocol if the field's own word implies it. */
  imply(protocol: string): void {
    const implied =
      protocol === 'icmp' ? [protocol, 'ipv4'] : protocol === 'ipv6-icmp' ? [protocol, 'ipv6'] : [protocol];
    for (const name of implied) {
      const index = this.#words.findIndex(word => word.protocol === name);
      if (index >= 0) this.#words.splice(index, 1);
    }
  }

  load(dreg: Register, operand: Operand): void {
    this.#registers.set(dreg, operand);
  }

  /** The part of the packet that was loaded into a register. */
  loaded(sreg: Register): Loaded {
    const operand = this.#registers.get(sreg);
    if (operand && 'text' in operand) return operand;
    return { text: `# register ${sreg}`, type: DATATYPES.integer };
  }

  /** A register as an operand of the given type. */
  operand(sreg: Register, type: Datatype): string {
    const operand = this.#registers.get(sreg);
    if (operand && 'constant' in operand) return type.text(operand.constant);
    const { text, type: own, mask } = this.loaded(sreg);
    return mask ? `${text} & ${own.text(mask)}` : text;
  }

  /** The registers from `sreg` on as a key of these types. */
  key(sreg: Register, types: readonly Datatype[]): string {
    let word: number = sreg;
    return types
      .map(type => {
        const text = this.operand(register(word), type);
        word += Math.ceil(type.size / 4);
        return text;
      })
      .join(' . ');
  }

  /** The types of a set that the rule refers to. */
  set(name: string): { readonly types: readonly Datatype[]; readonly data: Datatype } {
    const set = this.#sets.get(name);
    return {
      types: set?.types ?? [],
      data: set?.data && set.data !== VERDICT ? set.data : DATATYPES.integer,
    };
  }

  toString(): string {
    return this.#words.map(word => word.text).join(' ');
  }
}
