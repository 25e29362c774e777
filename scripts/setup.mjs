/**
 * Makes a fresh clone ready: npm packages, the build, and with an argument, such as `test`, what that purpose needs of the
 * system. Runs before `npm start` and `npm test`, so it imports nothing that would have to be installed, and does
 * nothing that is done already.
 */
import { spawnSync } from 'node:child_process';
import { accessSync, constants, existsSync, readdirSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { homedir } from 'node:os';
import { delimiter, dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = dirname(dirname(fileURLToPath(import.meta.url)));
const paths = [...(process.env.PATH ?? '').split(delimiter), '/usr/sbin', '/sbin', '/usr/bin', '/bin'];

/** Debian's packages, and the programs that `npm run test:kernels` wants of each. */
const kernelPackages = {
  iproute2: ['ip'],
  nftables: ['nft'],
  'util-linux': ['unshare', 'nsenter', 'setpriv'],
  dash: ['dash'],
  busybox: ['busybox'],
  kmod: ['kmod', 'depmod'],
  'xz-utils': ['xz'],
  'qemu-system-x86': ['qemu-system-x86_64'],
  'qemu-system-arm': ['qemu-system-aarch64'],
};

/** The same for the tests. */
const testPackages = {
  iproute2: ['ip'],
  nftables: ['nft'],
  iptables: ['iptables-nft'],
  conntrack: ['conntrack'],
  'util-linux': ['unshare', 'nsenter', 'setpriv'],
  systemd: ['systemctl'], // for the lab of test/system, which boots it
  dbus: ['dbus-daemon'],
  // programs to try the client's commands with
  'openssh-server': ['sshd'],
  'openssh-client': ['ssh', 'ssh-keygen'],
  'netcat-openbsd': ['nc'],
  rsync: ['rsync'],
  git: ['git'],
  knockd: ['knock'],
  tmux: ['tmux'],
  strace: ['strace'], // system calls that fail
  sshfs: ['sshfs'], // a file system that hangs
  procps: ['pgrep'],
  faketime: ['faketime'], // clocks that are set
  acl: ['setfacl'],
  bsdutils: ['script'],
  // in which the command's words are completed
  zsh: ['zsh'],
  fish: ['fish'],
  // beside which doctor and its advice are tried
  firewalld: ['firewalld', 'firewall-cmd'],
  fail2ban: ['fail2ban-server', 'fail2ban-client'],
  ufw: ['ufw'],
  // tools for the attacks
  nmap: ['nmap'],
  hping3: ['hping3'],
  // programs to send one-time tokens with
  dash: ['dash'],
  busybox: ['busybox'],
  chromium: ['chromium'],
  'firefox-esr': ['firefox-esr'],
  // programs to read the manual pages with
  'man-db': ['man'],
  mandoc: ['mandoc'],
};

/** The needs of each purpose: `npm test`, and the tests that take long. */
const purposes = {
  test: testPackages,
  kernels: kernelPackages,
  living: {
    ...testPackages,
    'ansible-core': ['ansible-playbook'],
    mosh: ['mosh'],
    'wireguard-tools': ['wg'],
    'wireguard-go': ['wireguard-go'],
    curl: ['curl'],
    'docker.io': ['dockerd'],
  },
  peers: { ...testPackages, 'fwknop-server': ['fwknopd'], 'fwknop-client': ['fwknop'] },
  packages: {
    ...testPackages,
    debootstrap: ['debootstrap'],
    rpm: ['rpmbuild', 'rpm'],
    'docker.io': ['dockerd'],
  },
  prometheus: {
    ...testPackages,
    prometheus: ['prometheus', 'promtool'],
    'prometheus-node-exporter': ['prometheus-node-exporter'],
  },
};
const wantedPackages = purposes[process.argv[2]];

function say(text) {
  process.stderr.write(`${text}\n`);
}

/** Runs in the clone; its output is shown when it fails. */
function run(command, args, env = {}) {
  const options = { cwd: root, env: { ...process.env, ...env }, encoding: 'utf8', maxBuffer: 1 << 28 };
  const { status, stdout, stderr, error } = spawnSync(command, args, options);
  if (status === 0) return true;
  say(`${stdout ?? ''}${stderr ?? ''}${error ? `${error.message}\n` : ''}`.trimEnd());
  return false;
}

/** The npm that started us, if one did. */
function npm(args, env) {
  const file = process.env.npm_execpath ?? '';
  return /npm-cli\.c?js$/.test(file) ? run(process.execPath, [file, ...args], env) : run('npm', args, env);
}

function modified(path) {
  return existsSync(path) ? statSync(path).mtimeMs : 0;
}

/** Of a file, or of a folder, its subfolders and all their files: a removed file changes its folder. */
function newest(path) {
  if (!existsSync(path) || !statSync(path).isDirectory()) return modified(path);
  return Math.max(modified(path), ...readdirSync(path).map(name => newest(join(path, name))));
}

/** The folder can be written, or it can be made. */
function writable(folder) {
  let path = folder;
  while (!existsSync(path) && dirname(path) !== path) path = dirname(path);
  try {
    accessSync(path, constants.W_OK);
    return true;
  } catch {
    return false;
  }
}

function installPackages() {
  const lock = modified(join(root, 'package-lock.json'));
  if (modified(join(root, 'node_modules/.package-lock.json')) >= lock) return true; // npm writes it last
  say('installing npm packages into node_modules …');
  const cache = process.env.npm_config_cache ?? join(homedir(), '.npm');
  const ownCache = writable(cache) ? {} : { npm_config_cache: join(root, '.npm-cache') };
  // Each flag overrides the same setting of the environment or of an .npmrc, which would break the installation.
  const flags = ['--include=dev', '--no-global', '--no-dry-run', '--package-lock', '--no-package-lock-only'];
  return npm(['ci', ...flags, '--ignore-scripts', '--no-audit', '--no-fund'], ownCache);
}

function build() {
  const sources = [
    'src',
    'test',
    'bench',
    'config',
    'page',
    'systemd',
    'scripts/bundle.mjs',
    'scripts/compile.mjs',
    'scripts/compile',
    'package.json',
    'package-lock.json',
    'tsconfig.json',
  ];
  const changed = Math.max(...sources.map(source => newest(join(root, source))));
  const made = ['build', 'dist/knockd-nft.cjs', 'compiled/knockd-nft.cjs'].map(path =>
    modified(join(root, path)),
  );
  if (Math.min(...made) > 0 && modified(join(root, 'dist/knockd-nft.cjs')) >= changed) return true;
  say('building …');
  return npm(['run', '--silent', 'build']);
}

function installed(program) {
  return paths.some(folder => existsSync(join(folder, program)));
}

/** Debian's way to say that what is installed must not be started; one that is there already stays. */
function withoutStarting(install) {
  const policy = '/usr/sbin/policy-rc.d';
  if (existsSync(policy)) return install();
  writeFileSync(policy, '#!/bin/sh\nexit 101\n', { mode: 0o755 });
  try {
    return install();
  } finally {
    rmSync(policy);
  }
}

function lackingPackages() {
  const lacking = Object.entries(wantedPackages).filter(([, programs]) => !programs.every(installed));
  return lacking.map(([name]) => name);
}

function install(names) {
  const env = { DEBIAN_FRONTEND: 'noninteractive' };
  return run('apt-get', ['install', '-y', '--no-install-recommends', ...names], env);
}

/** The tests go on without it, and count the skipped ones. */
function provideSystemPackages() {
  const names = lackingPackages();
  if (names.length > 0 && process.getuid() === 0 && installed('apt-get')) {
    say(`installing ${names.join(', ')} …`);
    // one package that this distribution does not have keeps apt from all of them: then one by one
    const each = () => install(names) || names.map(name => install([name]));
    if (run('apt-get', ['update'])) withoutStarting(each);
  }
  const missing = lackingPackages();
  const programs = missing.flatMap(name => wantedPackages[name]).filter(program => !installed(program));
  if (missing.length > 0)
    say(
      `missing: ${programs.join(', ')} (Debian: apt install ${missing.join(' ')}); tests that need them are skipped`,
    );
}

if (Number.parseInt(process.versions.node, 10) < 20) {
  say(`Node.js 20 or newer is needed; this is ${process.version}`);
  process.exit(1);
}
if (!installPackages() || !build()) process.exit(1);
if (wantedPackages) {
  provideSystemPackages();
  if (!run(process.execPath, ['scripts/package/runtime.mjs']))
    say('tests that need a package of ours are skipped');
}
