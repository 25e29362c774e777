// Runs a command, and keeps V8's compiled code of the program: that of the functions that the command called, beside the code
// that is kept already.
// node FLAGS keep.cjs PROGRAM CONFIGURATION KEPT COMMAND. The kept file begins with the hash of the program.
'use strict';
const { createHash } = require('node:crypto');
const { existsSync, readFileSync, writeFileSync } = require('node:fs');
const { wrap } = require('node:module');
const { dirname } = require('node:path');
const { Script } = require('node:vm');

const [node, , program, configuration, kept, command] = process.argv;
const bytes = readFileSync(program);
const source = wrap(bytes.toString('latin1').replace(/^#!/, '//')); // as start.cjs has it
const hash = createHash('sha256').update(bytes).digest();
const cachedData = existsSync(kept) ? readFileSync(kept).subarray(hash.length) : undefined;
const script = new Script(source, { filename: program, cachedData });
process.argv = [node, program, '--config', configuration, command];
process.on('exit', () => writeFileSync(kept, Buffer.concat([hash, script.createCachedData()])));
script.runInThisContext().call(exports, exports, require, module, program, dirname(program));
