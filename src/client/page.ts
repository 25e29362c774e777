/** The text of page/knock.html. scripts/bundle.mjs puts it in. */
declare const SHIPPED_PAGE: string;

/** The values that fill a page. The page asks for those that are missing. */
export interface PageSettings {
  /** A name for people. */
  readonly name: string;
  /** An address. */
  readonly host: string;
  readonly port: number;
  readonly service: string;
  readonly realm: string;
  /** 64 hexadecimal digits. */
  readonly secret: string;
  /** The address to go to when the port is open. */
  readonly url?: string;
  /** Seconds. */
  readonly openFor?: number;
}

/** The page that knocks. Without settings it belongs to no server, and asks for all values. */
export function makePage(settings: PageSettings | null, page = SHIPPED_PAGE): string {
  const json = JSON.stringify(settings).replaceAll('<', '\\u003c'); // so that no value ends the element
  return page.replace(/(<script id="filled"[^>]*>)null/, (_, start) => start + json);
}
