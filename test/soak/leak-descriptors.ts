/** Leaks a descriptor ten times a second, in a process that has to end by itself all the same. */
import { openSync } from 'node:fs';

setInterval(() => openSync('/dev/null', 'r'), 100).unref();
