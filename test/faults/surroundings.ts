/** A machine in trouble: folders that are full, read-only, or slow; few descriptors; little memory. */
import { dirname } from 'node:path';
import type { World } from '../kernel/world.ts';
import type { Run } from './try-faults.ts';

const program = (world: World, words: readonly string[]) => [
  ...[process.execPath, 'dist/knockd-nft.cjs', '--config', world.configFile],
  ...words,
];

/** Runs our program after a shell script, which has the world's folder in $F and the folder that is meant in $D. */
export const after =
  (script: string, folder = ''): Run =>
  (world, words, env) => {
    const path = dirname(world.configFile);
    const command = ['-ec', script, 'sh', ...program(world, words)];
    return world.run('server', 'sh', command, { env: { ...env, F: path, D: `${path}/${folder}` } });
  };

/** A mount lasts as long as the shell, which `ip netns exec` gives mounts of its own. What was written there is brought out. */
const full = (folder: string) =>
  after(
    `O=$(mktemp -d); mount --bind "$D" "$O"; mount -t tmpfs -o size=1m tmpfs "$D"; cp -a "$O"/. "$D"/
head -c 2M /dev/zero >"$D/filler" 2>/dev/null || :
s=0; "$@" || s=$?
rm "$D/filler"; find "$O" -mindepth 1 -delete; cp -a "$D"/. "$O"/; umount "$O"; rmdir "$O"; exit $s`,
    folder,
  );
const readOnly = (folder: string) =>
  after('mount --bind "$D" "$D"; mount -o remount,bind,ro "$D"; exec "$@"', folder);

/** Each of these calls takes 20 ms longer. */
const slow: Run = (world, words, env) => {
  const delay = [
    '-f',
    '-qq',
    '-o',
    '/dev/null',
    '-e',
    'inject=openat,write,fsync,rename,unlink:delay_enter=20000',
  ];
  return world.run('server', 'strace', [...delay, ...program(world, words)], { env });
};

const folders = {
  'the folder of the file': '.',
  'the state folder': 'state',
  'the runtime folder': 'run',
} as const;

export const SURROUNDINGS: Readonly<Record<string, Run>> = {
  ...Object.fromEntries(Object.entries(folders).map(([name, folder]) => [`${name} is full`, full(folder)])),
  ...Object.fromEntries(
    Object.entries(folders).map(([name, folder]) => [`${name} is read-only`, readOnly(folder)]),
  ),
  'slow files': slow,
  ...Object.fromEntries(
    [19, 21, 22, 23, 24, 26, 28].map(most => [`${most} descriptors`, after(`ulimit -n ${most}; exec "$@"`)]),
  ),
};
