/** As in package.json (a test keeps the two together): part of the mark in the kernel. */
export const VERSION = '1.1.0';

/** scripts/bundle.mjs puts it in. */
declare const BUILD: string;

/** A hash of the whole bundled program; undefined if it runs without the bundle, as in some tests. */
export const build = typeof BUILD === 'string' ? BUILD : undefined;
