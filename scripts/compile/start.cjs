#!/usr/bin/env node
// Runs dist/client.cjs for a client, and else dist/knockd-nft.cjs with the code that V8 compiled at the build, which saves a fifth
// of the time of a short command. The code lies beside the program, and the same users may write both. It is for exactly these
// bytes. V8 itself refuses it for another version or other flags. Without the code, or if V8 refuses it, the program is compiled
// as usual.
'use strict';
/** The commands of the client. */
const CLIENT = ['knock', 'proxy', 'page'];
const program = `${__dirname}/../dist/knockd-nft.cjs`;

/** The program as a function; undefined without compiled code for it. */
function compiled() {
  try {
    const { createHash } = require('node:crypto');
    const { readFileSync } = require('node:fs');
    const kept = readFileSync(`${__dirname}/code${process.execArgv.join('')}`);
    const bytes = readFileSync(program);
    if (!createHash('sha256').update(bytes).digest().equals(kept.subarray(0, 32))) return undefined;
    bytes.write('//'); // in place of #!
    // as Node.js itself wraps a module; to load node:module for that takes longer
    const source = `(function (exports, require, module, __filename, __dirname) { ${bytes.toString('latin1')}\n});`;
    const options = { filename: program, cachedData: kept.subarray(32) };
    return new (require('node:vm').Script)(source, options).runInThisContext();
  } catch {
    return undefined;
  }
}

const isClient = CLIENT.includes(process.argv[2]);
const run = isClient ? undefined : compiled();
if (isClient) require(`${__dirname}/../dist/client.cjs`);
else if (run) run.call(exports, exports, require, module, program, `${__dirname}/../dist`);
else require(program);
