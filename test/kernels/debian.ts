/** Kernels from Debian's archive by apt, with sources, lists and a cache of our own; unpacked, and never installed. */
import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { environment } from '../kernel/process.ts';

/** A kernel that was unpacked. */
export interface Kernel {
  /** As `uname -r` says it: `6.12.74+deb13-cloud-amd64`. */
  readonly release: string;
  /** Its package's: `6.12.74-2`. */
  readonly version: string;
  readonly image: string;
  /** The folder `lib/modules/RELEASE`. */
  readonly modules: string;
}

/** As Debian names them. */
export type Architecture = 'amd64' | 'arm64';

/** The source of a kernel: the release of Debian, and the archive. */
export interface Wanted {
  /** `5.10`, or `newest`. */
  readonly name: string;
  readonly architecture: Architecture;
  readonly debian: string;
  /** Lines of sources.list without their beginning: mirror, suite. */
  readonly suites: readonly (readonly [archive: 'debian' | 'debian-security', suite: string])[];
  /** Of the packages; the first group is what comes after `linux-image-`. */
  readonly packages: RegExp;
}

/** The small kernels that Debian builds for virtual machines have all that a network needs. */
export const WANTED: readonly Wanted[] = [
  {
    name: '5.10',
    architecture: 'amd64',
    debian: '11',
    suites: [['debian-security', 'bullseye-security']],
    packages: /^linux-image-(5\.10\.0-\d+-cloud-amd64)$/,
  },
  {
    name: '6.1',
    architecture: 'amd64',
    debian: '12',
    suites: [
      ['debian', 'bookworm'],
      ['debian-security', 'bookworm-security'],
    ],
    packages: /^linux-image-(6\.1\.0-\d+-cloud-amd64)$/,
  },
  {
    name: '6.12',
    architecture: 'amd64',
    debian: '13',
    suites: [
      ['debian', 'trixie'],
      ['debian-security', 'trixie-security'],
    ],
    packages: /^linux-image-(6\.12\.\d+\+deb13-cloud-amd64)$/,
  },
  {
    name: 'newest',
    architecture: 'amd64',
    debian: '13, backports',
    suites: [['debian', 'trixie-backports']],
    packages: /^linux-image-([\d.]+\+deb13-cloud-amd64)$/,
  },
  {
    name: 'arm64',
    architecture: 'arm64',
    debian: '13',
    suites: [
      ['debian', 'trixie'],
      ['debian-security', 'trixie-security'],
    ],
    packages: /^linux-image-(6\.12\.\d+\+deb13-cloud-arm64)$/,
  },
];

/** A kernel is in the first, or in the others. */
const PARTS = ['image', 'binary', 'modules'] as const;

/** A kernel that is not available, with the reason: no fault of the program. */
export class CannotHaveError extends Error {
  override readonly name = 'CannotHaveError';
}

/** One architecture of the archive. Makes ready what apt needs in `folder`, and asks. Throws {@link CannotHaveError}. */
export class Debian {
  readonly #folder: string;
  readonly #env: NodeJS.ProcessEnv;

  constructor(folder: string, architecture: Architecture) {
    this.#folder = folder;
    for (const path of ['lists/partial', 'cache/archives/partial', 'packages'])
      mkdirSync(join(folder, path), { recursive: true });
    const { debian, security } = mirrors();
    const suites = new Set(
      WANTED.filter(wanted => wanted.architecture === architecture)
        .flatMap(wanted => wanted.suites)
        .map(([archive, suite]) => `${archive === 'debian' ? debian : security} ${suite}`),
    );
    const sources = join(folder, 'sources.list');
    writeFileSync(
      sources,
      [...suites].map(suite => `deb [arch=${architecture} signed-by=${KEYRING}] ${suite} main\n`).join(''),
    );
    const status = join(folder, 'status');
    writeFileSync(status, ''); // nothing is installed: so apt finds all that a package depends on
    const settings = {
      'Dir::Etc::sourcelist': sources,
      'Dir::Etc::sourceparts': '-',
      'Dir::State::lists': join(folder, 'lists'),
      'Dir::State::status': status,
      'Dir::Cache': join(folder, 'cache'),
      'APT::Sandbox::User': '',
      'APT::Architecture': architecture,
      'APT::Architectures': architecture,
      'APT::Install-Recommends': 'false',
    };
    const file = join(folder, 'apt.conf');
    writeFileSync(
      file,
      Object.entries(settings)
        .map(([key, value]) => `${key} "${value}";\n`)
        .join(''),
    );
    this.#env = { ...environment, APT_CONFIG: file, LC_ALL: 'C' };
    this.#run('apt-get', ['update', '-qq']);
  }

  /** The newest kernel of that kind, unpacked in the folder. Throws {@link CannotHaveError}. */
  kernel({ packages }: Wanted): Kernel {
    const names = this.#run('apt-cache', ['pkgnames', 'linux-']).split('\n');
    const releases = names.flatMap(name => {
      const release = packages.exec(name)?.[1];
      return release === undefined ? [] : [{ name, release }];
    });
    const last = releases.sort((one, other) => byVersion(one.release, other.release)).at(-1);
    if (!last) throw new CannotHaveError(`the archive has no package like ${packages.source}`);
    const { name, release } = last;
    const version = /^Version: (.*)$/m.exec(this.#run('apt-cache', ['show', name]))?.[1] ?? '';
    const root = join(this.#folder, 'kernels', release);
    const done = join(root, '.unpacked');
    const parts = PARTS.map(part => `linux-${part}-${release}`).filter(part => names.includes(part));
    if (!existsSync(done) || readFileSync(done, 'utf8') !== version) {
      rmSync(root, { recursive: true, force: true });
      mkdirSync(root, { recursive: true });
      for (const part of parts) this.#unpack(part, root);
      writeFileSync(done, version);
    }
    const found = (paths: readonly string[]) => paths.map(path => join(root, path)).find(existsSync);
    const image = found([`boot/vmlinuz-${release}`, `usr/lib/modules/${release}/vmlinuz`]);
    const modules = found([`lib/modules/${release}`, `usr/lib/modules/${release}`]);
    if (!image || !modules) throw new CannotHaveError(`${parts.join(', ')}: no kernel is in them`);
    return { release, version, image, modules };
  }

  /** Unpacks programs into `root`, with all packages that they depend on. Throws {@link CannotHaveError}. */
  programs(names: readonly string[], root: string): void {
    this.#run('apt-get', ['install', '-qq', '--download-only', ...names]);
    const cache = join(this.#folder, 'cache/archives');
    for (const file of readdirSync(cache).filter(name => name.endsWith('.deb')))
      this.#run('dpkg', ['-x', join(cache, file), root]);
  }

  #unpack(name: string, root: string): void {
    const folder = join(this.#folder, 'packages', name);
    rmSync(folder, { recursive: true, force: true });
    mkdirSync(folder, { recursive: true });
    this.#run('apt-get', ['download', '-qq', name], folder);
    for (const file of readdirSync(folder)) this.#run('dpkg', ['-x', join(folder, file), root]);
    rmSync(folder, { recursive: true, force: true });
  }

  #run(command: string, args: readonly string[], cwd = this.#folder): string {
    const options = { env: this.#env, encoding: 'utf8', maxBuffer: 1 << 28, cwd } as const;
    const { status, stdout, stderr, error } = spawnSync(command, args, options);
    if (status === 0) return stdout;
    const why = error?.message ?? stderr.trim().split('\n').at(-1);
    throw new CannotHaveError(`${command} ${args.join(' ')}: ${why}`);
  }
}

const KEYRING = '/usr/share/keyrings/debian-archive-keyring.gpg';

/** The mirrors that this machine takes Debian from. */
function mirrors(): { readonly debian: string; readonly security: string } {
  if (!existsSync(KEYRING))
    throw new CannotHaveError('no Debian here: debian-archive-keyring is not installed');
  const folder = '/etc/apt/sources.list.d';
  const more = existsSync(folder) ? readdirSync(folder).map(name => join(folder, name)) : [];
  const lines = ['/etc/apt/sources.list', ...more]
    .filter(path => /\.(list|sources)$/.test(path) && existsSync(path))
    .flatMap(path => readFileSync(path, 'utf8').split('\n'))
    .filter(line => !/^\s*#/.test(line));
  const named = (archive: string) =>
    lines
      .map(line => new RegExp(`\\bhttps?://\\S+/${archive}/?(?=\\s|$)`).exec(line)?.[0].replace(/\/$/, ''))
      .find(url => url !== undefined);
  const debian = named('debian');
  if (!debian) throw new CannotHaveError('no Debian here: /etc/apt names no mirror of it');
  return { debian, security: named('debian-security') ?? `${debian}-security` };
}

/** Numbers within count as numbers. */
function byVersion(one: string, other: string): number {
  return one.localeCompare(other, 'en', { numeric: true });
}
