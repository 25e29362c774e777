import { toName } from '../config/names.ts';
import { formatDuration } from '../inet/duration.ts';
import { formatPortRange, includes, overlap, type Port, type PortRange } from '../inet/port.ts';
import type { Door } from './door.ts';

/** A service made of one door, or of several that open the same ports. */
export interface Imported {
  readonly name: string;
  readonly ports: readonly PortRange[];
  /** One door, or one for each user. */
  readonly doors: readonly { readonly user: string; readonly door: Door }[];
  /** Milliseconds. */
  readonly knockTimeout: number;
  readonly openFor: number;
}

type Tell = (door: Door, line: number, message: string) => void;

/** Combines doors into services that may stand in one configuration. Reports those that cannot. */
export function combineDoors(doors: readonly Door[], tell: Tell): readonly Imported[] {
  const kept: Placed[] = [];
  for (const door of doors) {
    const fit = fitPorts(placed(door), kept, tell);
    if (!fit) continue;
    const conflict = conflictOf(fit, kept);
    if (conflict === undefined) kept.push(fit);
    else tell(door, door.knocksLine, `not carried over: ${conflict}: choose another sequence`);
  }
  return toServices(kept, tell);
}

/** A door, and the texts to compare it by. */
interface Placed extends Door {
  /** `22/tcp,80/tcp`. */
  readonly portsText: string;
  /** `7000/tcp,8000/udp,`: if knocks begin with others, so do their texts. */
  readonly knocksText: string;
}

function placed(door: Door): Placed {
  const knocksText = door.knocks.map(({ port, protocol }) => `${port}/${protocol},`).join('');
  return { ...door, portsText: door.ports.map(formatPortRange).join(), knocksText };
}

/** A guarded port belongs to one service. So the door loses ports of earlier doors, unless it opens exactly the same ones. */
function fitPorts(door: Placed, earlier: readonly Placed[], tell: Tell): Placed | undefined {
  if (earlier.some(it => it.portsText === door.portsText)) return door;
  const taken = door.ports.flatMap(port =>
    earlier.filter(it => it.ports.some(other => overlap(other, port))).map(other => ({ port, other })),
  );
  const [first] = taken;
  if (!first) return door;
  const ports = door.ports.filter(port => !taken.some(it => it.port === port));
  const what = `${formatPortRange(first.port)} is opened by [${first.other.name}] (line ${first.other.portsLine}), with other ports, and a port belongs to one service`;
  if (ports.length === 0) {
    tell(door, door.portsLine, `not carried over: ${what}`);
    return undefined;
  }
  tell(door, door.portsLine, `opens only ${ports.map(formatPortRange).join(', ')} here: ${what}`);
  return placed({ ...door, ports });
}

/** Why a sequence cannot stand beside the earlier ones, or beside the guarded ports. */
function conflictOf(door: Placed, earlier: readonly Placed[]): string | undefined {
  const { knocks, knocksText, ports } = door;
  const repeated = knocks.findIndex((knock, index) => isSame(knock, knocks[index - 1]));
  if (repeated > 0)
    return `knock ${repeated + 1} is the same as the one before, which the kernel cannot tell from a retransmission`;
  const guarding = [...earlier, door].find(it =>
    knocks.some(knock => it.ports.some(port => includes(port, knock))),
  );
  if (guarding)
    return `a knock goes to a port that [${guarding.name}] (line ${guarding.portsLine}) opens, and a guarded port cannot be a knock`;
  const knocking = earlier.find(it => it.knocks.some(knock => ports.some(port => includes(port, knock))));
  if (knocking)
    return `it opens a port that [${knocking.name}] (line ${knocking.knocksLine}) knocks on, and a guarded port cannot be a knock`;
  const alike = earlier.find(
    it => it.knocksText.startsWith(knocksText) || knocksText.startsWith(it.knocksText),
  );
  if (alike)
    return `its sequence and that of [${alike.name}] (line ${alike.knocksLine}) begin alike, and one of them would never be completed`;
  return undefined;
}

function toServices(doors: readonly Placed[], tell: Tell): readonly Imported[] {
  const groups = new Map<string, [Door, ...Door[]]>();
  for (const door of doors) {
    const group = groups.get(door.portsText);
    if (group) group.push(door);
    else groups.set(door.portsText, [door]);
  }
  const taken = new Set<string>();
  return [...groups.values()].map(group => {
    const [first] = group;
    const users = new Set<string>();
    const openFor = sharedTime(group, tell);
    return {
      name: freeName(first.name, 'service', taken),
      ports: first.ports,
      doors: group.map(door => ({ user: freeName(door.name, 'user', users), door })),
      knockTimeout: Math.max(...group.map(door => door.knockTimeout)),
      openFor,
    };
  });
}

/** The shortest time of these doors. One that stays open for ever takes the time of the others. */
function sharedTime(group: readonly Door[], tell: Tell): number {
  const ending = group.filter(({ endless }) => !endless);
  const openFor = Math.min(...(ending.length > 0 ? ending : group).map(door => door.openFor));
  const whose = group.find(door => door.openFor === openFor && door.endless === (ending.length === 0))?.name;
  for (const door of group) {
    if (door.endless)
      tell(
        door,
        door.portsLine,
        `stayed open until it was closed; here clients may connect for ${formatDuration(openFor)} ("openFor"${ending.length > 0 ? ` of [${whose}], with which it shares its ports` : ''}), and connections stay`,
      );
    else if (door.openFor !== openFor)
      tell(door, door.line, `shares its ports with [${whose}], and so its shorter "openFor"`);
  }
  return openFor;
}

/** A free name: `openSSH` and `opencloseSSH` become `ssh`, or `ssh-2` if that is taken. */
function freeName(written: string, otherwise: string, taken: Set<string>): string {
  const plain = toName(written.replace(/^open([-_ ]?close)?[-_ ]?(?=.*[a-z])/i, ''));
  const name = plain || toName(written) || otherwise;
  let free = name;
  for (let number = 2; taken.has(free); number++)
    free = `${name.slice(0, 31 - String(number).length)}-${number}`;
  taken.add(free);
  return free;
}

function isSame(a: Port, b: Port | undefined): boolean {
  return a.port === b?.port && a.protocol === b.protocol;
}
