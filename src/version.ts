/** As in package.json (a test keeps the two together): part of the mark in the kernel. */
export const VERSION = '1.0.0';
