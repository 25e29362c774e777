/** Makes the folder `compiled` beside `dist`: a script that starts the program, and V8's compiled code of it for the flags of each unit. */
import { spawnSync } from 'node:child_process';
import {
  chmodSync,
  copyFileSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = fileURLToPath(new URL('..', import.meta.url));

/** A service of each kind. */
const EXAMPLE = {
  services: {
    ssh: { ports: [22], tokens: { alice: '00'.repeat(32) } },
    web: { ports: [443], sequences: { bob: [7000, '8000/udp', 9000] } },
  },
};

/** In a network namespace and with privileges of its own, where the host allows it. */
const APART = ['unshare', '--map-root-user', '--net'];
/** Their code is kept: that which an administrator waits for. */
const COMMANDS = ['load', 'check', 'status'];

function run([program, ...words], folder) {
  return spawnSync(program, words, {
    encoding: 'utf8',
    stdio: ['ignore', 'ignore', 'pipe'],
    timeout: 60_000,
    env: { ...process.env, STATE_DIRECTORY: folder, RUNTIME_DIRECTORY: folder },
  });
}

/** No flags, as on a command line, and the flags that the units give to Node.js. */
function flagsOfUnits() {
  const lines = readdirSync(join(root, 'systemd'))
    .filter(name => name.endsWith('.service'))
    .flatMap(name => [
      ...readFileSync(join(root, 'systemd', name), 'utf8').matchAll(/bin\/node (--.*?) \//g),
    ]);
  return new Set(['', ...lines.map(([, flags]) => flags)]);
}

/** Compiles the program in `folder` for `node`. Without `node` it makes only the starting script, which works without the code. */
export function compileIn(folder, node) {
  const compiled = join(folder, 'compiled');
  rmSync(compiled, { recursive: true, force: true });
  mkdirSync(compiled);
  copyFileSync(join(root, 'scripts/compile/start.cjs'), join(compiled, 'knockd-nft.cjs'));
  chmodSync(join(compiled, 'knockd-nft.cjs'), 0o755);
  if (node === undefined) return;
  const temporary = mkdtempSync(join(tmpdir(), 'knockd-nft-'));
  try {
    const example = join(temporary, 'example.json');
    writeFileSync(example, JSON.stringify(EXAMPLE), { mode: 0o600 });
    for (const flags of flagsOfUnits()) {
      const words = flags.split(' ').filter(word => word !== '');
      const kept = join(compiled, `code${words.join('')}`);
      const program = join(folder, 'dist/knockd-nft.cjs');
      const keep = [node, ...words, join(root, 'scripts/compile/keep.cjs'), program, example, kept];
      const tried = COMMANDS.map(command => run([...APART, ...keep, command], temporary));
      if (tried.some(({ status }) => status !== 0)) {
        console.error(
          'no namespace can be made here, so code is kept of render, not of load: commands start a little later',
        );
        rmSync(kept, { force: true });
        const { status, stderr } = run([...keep, 'render'], temporary);
        if (status !== 0) throw new Error(`${node} ${flags}: ${stderr}`);
      }
      chmodSync(kept, 0o644);
    }
  } finally {
    rmSync(temporary, { recursive: true });
  }
}

if (process.argv[1] === fileURLToPath(import.meta.url)) compileIn(root, process.execPath);
