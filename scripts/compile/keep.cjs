// Runs `render`, and keeps V8's compiled code of it: that command needs no privileges, and most of the code of the other commands.
// node FLAGS keep.cjs PROGRAM CONFIGURATION KEPT. The kept file begins with the hash of the program.
'use strict';
const { createHash } = require('node:crypto');
const { readFileSync, writeFileSync } = require('node:fs');
const { wrap } = require('node:module');
const { dirname } = require('node:path');
const { Script } = require('node:vm');

const [node, , program, configuration, kept] = process.argv;
const bytes = readFileSync(program);
const source = wrap(bytes.toString('latin1').replace(/^#!/, '//')); // as start.cjs has it
const script = new Script(source, { filename: program });
process.argv = [node, program, '--config', configuration, 'render'];
process.on('exit', () =>
  writeFileSync(
    kept,
    Buffer.concat([createHash('sha256').update(bytes).digest(), script.createCachedData()]),
  ),
);
script.runInThisContext().call(exports, exports, require, module, program, dirname(program));
