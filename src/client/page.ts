/** scripts/bundle.mjs puts the text of page/knock.html in. */
declare const SHIPPED_PAGE: string;

/** What a page can be filled with; all that is missing is asked for. */
export interface PageSettings {
  /** For people. */
  readonly name: string;
  /** An address. */
  readonly host: string;
  readonly port: number;
  readonly service: string;
  readonly realm: string;
  /** 64 hexadecimal digits. */
  readonly secret: string;
  /** Where to go when it is open. */
  readonly url?: string;
  /** Seconds. */
  readonly openFor?: number;
}

/** The page that knocks; without settings it is nobody's, and asks. */
export function makePage(settings: PageSettings | null, page = SHIPPED_PAGE): string {
  const json = JSON.stringify(settings).replaceAll('<', '\\u003c'); // nothing of it ends the element
  return page.replace(/(<script id="filled"[^>]*>)null/, (_, start) => start + json);
}
