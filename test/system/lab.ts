/**
 * A machine for tests of how the distribution's systemd treats us. It boots as PID 1 of fresh namespaces, on a copy-on-write
 * view of this machine's files, or of another tree, and has a client on a wire. Needs root.
 *
 * The holder is a shell in a mount namespace of its own, which keeps the copy in memory. It outlives a reboot and ends with its
 * stdin, that is with the test, however that ends. Everything in it goes with it. Each boot is a child of the test and dies
 * with it. PID 1 dies with that child, and all of the machine with PID 1.
 */
import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, readdirSync, readFileSync, realpathSync, rmdirSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { setTimeout as delay } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import type { Test } from 'tap';
import { type Host, hostFor } from '../kernel/host.ts';
import { environment, type Result, type Running, run, start } from '../kernel/process.ts';

export interface Lab {
  /** Runs a command in the machine, as its root. */
  run(command: string, args: readonly string[], options?: { readonly timeout?: number }): Promise<Result>;
  /** The words that run a command in the machine, as its root, for a caller that starts it itself. */
  inside(command: string, args: readonly string[]): readonly string[];
  /** Like `run`, but the program stays. It ends with the test or the machine. */
  start(command: string, args: readonly string[]): Running;
  /** The path from here to a file of the machine. */
  path(file: string): string;
  /** The host that its packets come from and go to: 10.77.0.1, with the client at 10.77.0.2. */
  server(): Host;
  client(): Host;
  /** Shuts down in order and boots again. */
  reboot(): Promise<void>;
  /** Ends all processes at once, without a shutdown, and boots again. Written files stay: no disk loses power. */
  crash(): Promise<void>;
}

const SYSTEMD = '/lib/systemd/systemd';
const PATH = '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin';
const BOOT = 180_000;
const SHUTDOWN = 60_000;
/** systemd(1): SIGRTMIN+4 starts poweroff.target; glibc's SIGRTMIN is 34. */
const POWEROFF = 34 + 4;
/** Capabilities that reach past the namespaces: modules, the clock, raw I/O, the kernel log, security modules, audit. */
const DROPPED =
  '-sys_module,-sys_rawio,-sys_time,-mac_admin,-mac_override,-syslog,-wake_alarm,-block_suspend,-audit_control,-audit_read';

let known: string | false | undefined;

/** For a test's `skip`: why no lab is possible here, or false. */
export function missing(): string | false {
  known ??= whatIsMissing();
  return known;
}

function whatIsMissing(): string | false {
  if (process.getuid?.() !== 0) return 'no systemd lab: it needs root';
  for (const program of [SYSTEMD, '/usr/bin/dbus-daemon', '/usr/bin/dpkg-deb', '/usr/bin/deb-systemd-helper'])
    if (!existsSync(program)) return `no systemd lab: there is no ${program}`;
  for (const program of ['unshare', 'nsenter', 'setpriv', 'ip'])
    if (spawnSync(program, ['-V'], { env: environment }).error)
      return `no systemd lab: ${program} is not installed`;
  if (!existsSync('build/cache') || !readdirSync('build/cache').some(name => name.startsWith('node-linux-')))
    return 'no systemd lab: the Node.js of the package could not be had from the npm registry';
  const mounts = readFileSync('/proc/self/mountinfo', 'utf8').split('\n');
  const own = mounts.map(line => line.split(' ')[4]).find(path => /^\/(usr|etc|var)$/.test(path ?? ''));
  if (own) return `no systemd lab: ${own} is a file system of its own`;
  // tries everything that could be refused, in namespaces that end at once
  const probe = `set -e; mount -t tmpfs lab /tmp; mkdir /tmp/a /tmp/b /tmp/c /tmp/cg
mount -t overlay -o lowerdir=/,upperdir=/tmp/a,workdir=/tmp/b lab /tmp/c; mount -t cgroup2 lab /tmp/cg
mkdir /tmp/cg/knockd-nft-probe-${process.pid}; rmdir /tmp/cg/knockd-nft-probe-${process.pid}`;
  const flags = ['--mount', '--uts', '--ipc', '--net', '--pid', '--cgroup', '--fork'];
  const { status, stderr } = spawnSync('unshare', [...flags, 'sh', '-c', probe], { env: environment });
  const why = String(stderr).trim().split('\n').at(-1);
  return status === 0 ? false : `no systemd lab: ${why || 'unshare is refused'}`;
}

const MASKED = `systemd-udevd.service systemd-udevd-control.socket systemd-udevd-kernel.socket
systemd-udev-trigger.service systemd-udev-settle.service systemd-logind.service dbus-org.freedesktop.login1.service
systemd-timesyncd.service systemd-hwdb-update.service systemd-modules-load.service systemd-random-seed.service
systemd-firstboot.service systemd-machine-id-commit.service systemd-remount-fs.service systemd-binfmt.service
systemd-journald-audit.socket systemd-initctl.socket systemd-initctl.service systemd-update-utmp.service
systemd-update-utmp-runlevel.service systemd-ask-password-console.path systemd-ask-password-wall.path
systemd-tmpfiles-setup-dev.service systemd-tmpfiles-setup-dev-early.service kmod-static-nodes.service
proc-sys-fs-binfmt_misc.automount proc-sys-fs-binfmt_misc.mount dev-hugepages.mount sys-fs-fuse-connections.mount
sys-kernel-config.mount sys-kernel-debug.mount sys-kernel-tracing.mount getty.target console-getty.service
systemd-resolved.service systemd-networkd.service systemd-networkd.socket networking.service nftables.service`;

/** Makes the copy, without this machine's own services, mounts and identity. Prints `ready`. */
function holderScript(folder: string, tree: string, node: string): string {
  return `set -e
mount --make-rprivate /
mount -t tmpfs -o mode=755 knockd-nft-lab ${folder}
cd ${folder}
mkdir upper work root cgroup
mount -t overlay -o lowerdir=${tree},upperdir=upper,workdir=work knockd-nft-lab root
mount -t cgroup2 knockd-nft-lab cgroup
rm -rf root/etc/systemd root/.dockerenv root/run/.containerenv root/usr/sbin/policy-rc.d root/etc/fstab \\
  root/etc/machine-id root/var/lib/dbus/machine-id root/var/lib/systemd root/etc/resolv.conf root/var/log/journal \\
  root/etc/rc?.d root/etc/hostname
mkdir -p root/etc/systemd/system root/etc/systemd/system.conf.d root/etc/systemd/journald.conf.d
for unit in ${MASKED.replaceAll('\n', ' ')}; do ln -s /dev/null root/etc/systemd/system/$unit; done
ln -s /lib/systemd/system/multi-user.target root/etc/systemd/system/default.target
tr -d - </proc/sys/kernel/random/uuid >root/etc/machine-id
echo lab >root/etc/hostname
: >root/etc/resolv.conf
echo '127.0.0.1 localhost lab' >root/etc/hosts
printf '[Manager]\\nDefaultTimeoutStopSec=15s\\nLogColor=no\\n' >root/etc/systemd/system.conf.d/lab.conf
printf '[Journal]\\nStorage=volatile\\nRateLimitIntervalSec=0\\nReadKMsg=no\\nAudit=no\\n' >root/etc/systemd/journald.conf.d/lab.conf
touch root/etc/.updated root/var/.updated
${tree === '/' ? `[ "$(readlink -f root/usr/bin/node)" = "$(readlink -f root${node})" ] || cp --remove-destination ${node} root/usr/bin/node` : ''}
echo ready
`;
}

/**
 * One boot, from PID 1 of the new namespaces, whose mounts end with it. Prints the process id that PID 1 has outside. In
 * /proc/sys, only the network's own part is writable. `dropped` are words of setpriv's --bounding-set.
 */
function bootScript(folder: string, group: string, dropped: string): string {
  return `set -e
read pid rest </proc/self/stat
cd ${folder}
mkdir -p cgroup/${group}
echo 0 >cgroup/${group}/cgroup.procs
exec unshare --cgroup sh -ec '
R=${folder}/root
mount -t proc -o nosuid,nodev,noexec proc $R/proc
for d in sys sysrq-trigger irq bus fs; do [ ! -e $R/proc/$d ] || mount --bind $R/proc/$d $R/proc/$d; done
mount --bind $R/proc/sys/net $R/proc/sys/net
for d in sys sysrq-trigger irq bus fs; do
  [ ! -e $R/proc/$d ] || mount -o remount,bind,ro,nosuid,nodev,noexec $R/proc/$d
done
mount -t sysfs -o ro,nosuid,nodev,noexec sysfs $R/sys
mount -t cgroup2 -o nosuid,nodev,noexec cgroup2 $R/sys/fs/cgroup
mount -t tmpfs -o mode=755,nosuid,noexec dev $R/dev
for d in null:3 zero:5 full:7 random:8 urandom:9; do mknod -m 666 $R/dev/\${d%:*} c 1 \${d#*:}; done
mknod -m 666 $R/dev/tty c 5 0
mkdir $R/dev/pts $R/dev/shm $R/dev/mqueue
mount -t devpts -o newinstance,ptmxmode=0666,mode=620,gid=5,nosuid,noexec devpts $R/dev/pts
mount -t tmpfs -o mode=1777,nosuid,nodev shm $R/dev/shm
mount -t mqueue -o nosuid,nodev,noexec mqueue $R/dev/mqueue
ln -s pts/ptmx $R/dev/ptmx
ln -s /proc/self/fd $R/dev/fd
for n in 0:stdin 1:stdout 2:stderr; do ln -s /proc/self/fd/\${n%:*} $R/dev/\${n#*:}; done
mount -t tmpfs -o mode=755,nosuid,nodev run $R/run
mkdir -m 1777 $R/run/lock
mount -t tmpfs -o mode=1777,nosuid,nodev tmp $R/tmp
mount -t tmpfs -o mode=1777,nosuid,nodev tmp $R/var/tmp
for d in $R/*/; do                    # what is not the system itself stays out of sight
  d=\${d%/}
  [ ! -L $d ] || continue
  case \${d##*/} in bin | sbin | lib* | usr | etc | var | dev | proc | sys | run | tmp) ;; *) mount -t tmpfs -o mode=755 hidden $d ;; esac
done
hostname lab
mkdir $R/run/.host
cd $R
pivot_root . run/.host
cd /
umount -l /run/.host
rmdir /run/.host
mount --make-rshared /
umask 022
echo '$pid'
exec env -i PATH=${PATH} LANG=C.UTF-8 TERM=dumb container=knockd-nft-lab \\
  setpriv --bounding-set ${dropped} ${SYSTEMD} --system </dev/null >/dev/null 2>&1'
`;
}

const wireScript = `set -e
ip netns add client
ip link add eth0 type veth peer name eth0 netns client
ip addr add 10.77.0.1/24 dev eth0
ip link set eth0 up
ip -n client addr add 10.77.0.2/24 dev eth0
ip -n client link set eth0 up
ip -n client link set lo up`;

/** Starts a shell with `script`, and waits for its first line. It dies with us. */
function firstLine(command: readonly string[], what: string): Promise<{ child: ChildProcess; line: string }> {
  const child = spawn('setpriv', ['--pdeathsig', 'KILL', ...command], { env: environment });
  let errors = '';
  child.stderr.setEncoding('utf8').on('data', text => {
    errors += text;
  });
  return new Promise((resolve, reject) => {
    createInterface({ input: child.stdout }).once('line', line => resolve({ child, line }));
    child.once('error', reject);
    child.once('close', () => reject(new Error(`${what}: ${errors}`)));
  });
}

export interface LabOptions {
  /** The folder of its root; another one than / has only the Node.js that it brings. */
  readonly tree?: string;
  /** A capability that its systemd does not have, such as `net_admin`, as in a container. */
  readonly without?: string;
}

/** Boots a machine that ends with the test. Ask `missing()` first. */
export async function createLab(
  t: Pick<Test, 'teardown'>,
  { tree = '/', without }: LabOptions = {},
): Promise<Lab> {
  const dropped = without ? `${DROPPED},-${without}` : DROPPED;
  const folder = mkdtempSync(join(tmpdir(), 'knockd-nft-lab-'));
  const group = `knockd-nft-lab-${process.pid}-${folder.slice(-6)}`;
  const script = `${holderScript(folder, tree, realpathSync(process.execPath))}\nread line`;
  const holding = ['unshare', '--mount', 'sh', '-c', script];
  const { child: holder } = await firstLine(holding, 'the copy of this machine could not be made');
  const machine = { pid: 0, ended: Promise.resolve() };
  const agents = new Map<string, Host>();
  const running = new Set<Running>();

  function inside(command: string, args: readonly string[]): readonly string[] {
    const target = ['-t', String(machine.pid), '-m', '-u', '-i', '-n', '-p', '-C', '-r', '-w'];
    const clean = [
      'env',
      '-i',
      `PATH=${PATH}`,
      'HOME=/root',
      'LANG=C.UTF-8',
      'SYSTEMD_PAGER=',
      'SYSTEMD_COLORS=0',
    ];
    return ['nsenter', ...target, 'setpriv', '--pdeathsig', 'KILL', ...clean, command, ...args];
  }

  /** Packets need only the network, so the agent and its modules are this machine's. */
  function agent(name: string, network: string): Host {
    const known = agents.get(name);
    if (known) return known;
    const program = fileURLToPath(new URL('../kernel/agent.js', import.meta.url));
    const there = [`--net=${network}`, 'setpriv', '--pdeathsig', 'KILL', process.execPath, program];
    const host = hostFor(name, spawn('nsenter', there, { env: environment }));
    agents.set(name, host);
    return host;
  }

  /** Whether PID 1 is systemd by now, and not yet in its last sweep. */
  function up(): boolean {
    try {
      return readFileSync(`/proc/${machine.pid}/comm`, 'utf8').trim() === 'systemd';
    } catch {
      return false;
    }
  }

  async function boot(): Promise<void> {
    const flags = ['--mount', '--uts', '--ipc', '--net', '--pid', '--fork', '--kill-child=KILL'];
    const command = ['nsenter', '-t', String(holder.pid), '-m', 'unshare', ...flags, 'sh', '-c'];
    const { child, line } = await firstLine(
      [...command, bootScript(folder, group, dropped)],
      'the lab does not boot',
    );
    machine.pid = Number(line);
    machine.ended = new Promise(resolve => child.once('close', () => resolve()));
    const end = Date.now() + BOOT;
    let state = 'no systemd';
    while (!/^(running|degraded)$/.test(state)) {
      if (Date.now() > end) throw new Error(`the lab does not boot (${state}):\n${await diagnosis()}`);
      await delay(50);
      if (!up() || !existsSync(lab.path('/run/systemd/private'))) continue;
      state = (await lab.run('systemctl', ['is-system-running'])).stdout.trim();
    }
    const { status, stderr } = await lab.run('sh', ['-c', wireScript]);
    if (status !== 0) throw new Error(`the lab's network: ${stderr}`);
  }

  async function diagnosis(): Promise<string> {
    const failed = await lab.run('systemctl', ['--failed', '--plain']);
    const journal = await lab.run('journalctl', ['--no-pager', '-n', '100']);
    return failed.stdout + journal.stdout;
  }

  async function halt({ inOrder = true } = {}): Promise<void> {
    await Promise.all([...agents.values()].map(it => it.end()));
    agents.clear();
    await Promise.allSettled([...running].map(program => program.stop('SIGKILL')));
    if (inOrder && up()) process.kill(machine.pid, POWEROFF);
    // All units have stopped when PID 1 becomes systemd-shutdown. Its last sweep waits for processes that are not its own.
    for (const end = Date.now() + SHUTDOWN; inOrder && up() && Date.now() < end; ) await delay(20);
    try {
      process.kill(machine.pid, 'SIGKILL');
    } catch {} // it is gone
    await machine.ended;
    const remove = ['find', `${folder}/cgroup/${group}`, '-depth', '-type', 'd', '-exec', 'rmdir', '{}', '+'];
    await run(['nsenter', '-t', String(holder.pid), '-m', ...remove]);
  }

  const lab: Lab = {
    inside,
    run: (command, args, options) => run(inside(command, args), options),
    start(command, args) {
      const program = start(inside(command, args));
      running.add(program);
      const forget = () => running.delete(program);
      program.ended.then(forget, forget);
      return program;
    },
    path: file => `/proc/${machine.pid}/root${file}`,
    server: () => agent('server', `/proc/${machine.pid}/ns/net`),
    client: () => agent('client', lab.path('/run/netns/client')),
    async reboot() {
      await halt();
      await boot();
    },
    async crash() {
      await halt({ inOrder: false });
      await boot();
    },
  };

  t.teardown(async () => {
    await halt();
    holder.stdin?.end();
    rmdirSync(folder);
  });
  await boot();
  return lab;
}
