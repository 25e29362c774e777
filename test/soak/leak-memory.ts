/** Leaks 100 kB ten times a second, in a process that still has to end by itself. */
const kept: Buffer[] = [];

setInterval(() => kept.push(Buffer.alloc(100_000, 1)), 100).unref();
