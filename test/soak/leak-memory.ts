/** Leaks 100 kB ten times a second, in a process that has to end by itself all the same. */
const kept: Buffer[] = [];

setInterval(() => kept.push(Buffer.alloc(100_000, 1)), 100).unref();
