import { count } from '../ruleset/describe.ts';
import type { Counts } from '../ruleset/happenings.ts';
import type { ServiceStatus } from '../ruleset/status.ts';
import {
  clientsIn,
  clientTable,
  headline,
  knockers,
  knockingTable,
  type Table,
} from '../ruleset/status-text.ts';
import { cut } from '../terminal/columns.ts';
import type { Paint } from '../terminal/paint.ts';
import { clockText } from './clock.ts';
import { type Seen, seenText } from './hearing.ts';
import { deal, type Line, type Section, tableSection } from './layout.ts';
import type { Story } from './story.ts';

interface Size {
  /** Characters. */
  readonly width: number;
  /** Lines. */
  readonly height: number;
}

/** Screens of fewer lines have no blank lines and no hint. */
const ROOMY = 16;

const STYLES: Readonly<Record<Seen['event'], Line['style']>> = {
  told: 'bold',
  table: 'bold',
  knocking: 'yellow',
  wrongKnocks: 'red',
  opened: 'green',
  accepted: undefined,
  refused: 'red',
  in: 'green',
  out: undefined,
};

/**
 * The lines of a screen, never more than its height, never wider than it. If there is not room for all, the clients that are
 * in come first, then those that knock, the services, and the last happenings. `hint` is for the last line.
 */
export function view(story: Story, now: Date, { width, height }: Size, hint: string, paint: Paint): string[] {
  const { status } = story;
  const services = busyFirst(story);
  const clients = clientsIn(status).sort(
    (a, b) => (b.expires ?? Infinity) - (a.expires ?? Infinity) || compare(a.address, b.address),
  );
  const knocking = knockers(status).sort((a, b) => b.step - a.step || compare(a.address, b.address));
  const sections = {
    services: tableSection(serviceTable(services, story), width, row =>
      services[row]?.[1].clients.length ? 'green' : undefined,
    ),
    clients: tableSection(withoutEmptyUsers(clientTable(clients)), width, () => 'green'),
    knocking: tableSection(withoutEmptyUsers(knockingTable(knocking)), width, () => 'yellow'),
    told: toldSection(story),
  };

  const roomy = height >= ROOMY;
  const gap = roomy ? [{ text: '' }] : [];
  const top = [titleLine(story, now, width), ...(status.loaded ? [{ text: summary(story) }] : [])];
  const bottom = roomy ? [{ text: '' }, { text: hint, style: 'dim' } as const] : [];
  const middle = height - top.length - bottom.length;
  const { clients: inside, knocking: coming, services: all, told } = sections;
  const rooms = deal([inside, coming, all, told], middle, gap.length);
  const body = Object.values(sections).flatMap((section): readonly Line[] => {
    const room = rooms.get(section);
    return room === undefined ? [] : [...gap, ...section.lines(room)];
  });
  const rest = Array.from({ length: Math.max(middle - body.length, 0) }, () => ({ text: '' }));
  return [...top, ...body, ...rest, ...bottom].slice(0, height).map(({ text, style }: Line) => {
    const line = cut(text, width);
    return style === undefined ? line : paint(style, line);
  });
}

/** The line that says whether all is well, with the time on the right. */
function titleLine({ status }: Story, now: Date, width: number): Line {
  const whole = headline(status);
  const title = whole.length > width ? whole.replace(/^table inet /, '') : whole;
  const clock = clockText(now).padStart(width - title.length);
  const asWanted = status.guarded !== false && status.inSync === true;
  return {
    text: clock.length > clockText(now).length ? title + clock : title,
    style: asWanted ? 'bold' : ['bold', 'red'],
  };
}

function summary({ status, wrongKnocks }: Story): string {
  const more = wrongKnocks > 0 ? ` +${wrongKnocks}` : '';
  return [
    `${clientsIn(status).length} in`,
    `${knockers(status).length} knocking`,
    `${status.wrongKnocks}${more} wrong knocks`,
    count(Object.keys(status.services).length, 'service'),
  ].join(', ');
}

type NamedService = readonly [name: string, service: ServiceStatus];

/** The services. Those with clients or new counts come first, since there may not be room for all. */
function busyFirst({ status, counted }: Story): NamedService[] {
  const isBusy = ([name, { clients }]: NamedService) => clients.length > 0 || counted.has(name);
  const all = Object.entries(status.services);
  return [...all.filter(isBusy), ...all.filter(service => !isBusy(service))];
}

function serviceTable(services: readonly NamedService[], { counted, rates }: Story): Table {
  const column = (key: keyof Counts) => {
    const grown = services
      .map(([name]) => counted.get(name)?.[key] ?? 0)
      .map(by => (by > 0 ? ` +${by}` : ''));
    const width = grown.reduce((most, text) => Math.max(most, text.length), 0);
    return services.map(([, service], row) => `${service[key]}${(grown[row] ?? '').padEnd(width)}`);
  };
  const [opened, accepted, refused] = [column('opened'), column('accepted'), column('refused')];
  return {
    head: ['SERVICE', 'IN', 'OPENED', 'ACCEPTED', 'REFUSED', 'REFUSED/S', 'PORTS'],
    rows: services.map(([name, { clients, ports }], row) => [
      name,
      String(clients.length),
      opened[row] ?? '',
      accepted[row] ?? '',
      refused[row] ?? '',
      rateText(rates.get(name) ?? 0),
      ports.join(' ') || '-',
    ]),
  };
}

function rateText(rate: number): string {
  return rate === 0 ? '' : rate.toFixed(rate < 10 ? 1 : 0);
}

/** The same without the column of users if no client has a name. */
function withoutEmptyUsers({ head, rows }: Table): Table {
  const users = head.indexOf('USER');
  if (rows.some(row => row[users] !== '-')) return { head, rows };
  return { head: head.toSpliced(users, 1), rows: rows.map(row => row.toSpliced(users, 1)) };
}

function toldSection({ told }: Story): Section {
  return {
    title: 0,
    rows: told.length,
    lines: room =>
      told.slice(-room).map(({ time, happening }) => ({
        text: `${clockText(time)} ${seenText(happening)}`,
        style: STYLES[happening.event],
      })),
  };
}

function compare(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}
