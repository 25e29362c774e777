/** Leaks a descriptor ten times a second, in a process that still has to end by itself. */
import { openSync } from 'node:fs';

setInterval(() => openSync('/dev/null', 'r'), 100).unref();
