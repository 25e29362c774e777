import { resolve } from 'node:path';
import type { Config } from '../config/types.ts';
import { holdText, type Trouble } from '../host/hold.ts';
import { shellWord } from '../terminal/shell.ts';
import type { Facts, KernelFacts, ServiceFacts, TableFacts } from './facts.ts';
import type { Checked, Finding } from './finding.ts';
import type { Flush } from './flushes.ts';
import { guardsPorts } from './passage.ts';

type Known = Pick<Facts, 'config' | 'file' | 'kernel' | 'service'>;

/** Checks that the table is there, and is as the file says. */
export function checkTable({ config, file, service }: Omit<Known, 'kernel'>, table: TableFacts): Checked {
  const name = config?.table ?? 'knockd';
  // a restart of the loader would unload the table first
  const load = service.systemd?.installed
    ? 'systemctl reload-or-restart knockd-nft-load && systemctl start knockd-nft'
    : `knockd-nft --config ${shellWord(file.path)} load`;
  return {
    name: 'table',
    fine: `inet ${name} is loaded${table.inSync ? ', as the file says' : ''}`,
    findings: tableFindings(name, service.hold ? { ...table, inSync: null } : table, load, file.path, config),
  };
}

function tableFindings(
  name: string,
  table: TableFacts,
  load: string,
  path: string,
  config: Config | undefined,
): Finding[] {
  const guards = guardsPorts(config);
  if (table.is === 'foreign')
    return [
      {
        id: 'table-foreign',
        severity: 'broken',
        what: `there is a table inet ${name} that is not ours`,
        why: `it is left alone, so ours cannot be loaded: ${guards ? 'nothing is guarded' : UNSEEN}`,
        mend: `"table": "knockd_nft"  in ${path}`,
      },
    ];
  if (table.is === 'not loaded')
    return [
      {
        id: 'not-loaded',
        severity: 'broken',
        what: `table inet ${name} is not loaded`,
        why: guards ? 'nothing is guarded: every port is open unless something else closes it' : UNSEEN,
        mend: load,
      },
    ];
  if (table.inSync === false)
    return [
      {
        id: 'not-in-sync',
        severity: 'broken',
        what: `table inet ${name} is not as the file says`,
        why: 'the rules in force are not those of the file; "knockd-nft diff" shows the difference',
        mend: load,
      },
    ];
  return [];
}

/** The loss without our table, if no service has ports. */
const UNSEEN = 'no knock is seen, and no token';

/** Checks what brings the table back after a reboot, or after another tool's flush. */
export function checkService({ config, file, kernel, service }: Known): Checked {
  const { supervisor, hold, troubles, systemd, groupOwner } = service;
  const findings: Finding[] = [];
  if (hold)
    findings.push({
      id: 'held',
      severity: isInForce(kernel) ? 'risk' : 'broken',
      what: `the supervisor leaves the kernel as it is: ${holdText(hold)}`,
      why: 'until then it neither follows the file nor puts the table back',
      mend: hold.until === null ? reload(service, file.path) : 'knockd-nft confirm',
    });
  findings.push(...troubles.map(trouble => troubled(trouble, service, file.path)));
  if (systemd && !(systemd.installed && systemd.enabled)) findings.push(notAtBoot(systemd.installed, config));
  if (supervisor === undefined) findings.push(noSupervisor(service, file.path));
  else if (supervisor.config !== resolve(file.path)) findings.push(otherFile(supervisor.config));
  for (const flush of systemd?.flushes ?? []) findings.push(flushes(flush, supervisor !== undefined, config));
  if (config && groupOwner === 'other') findings.push(groupTaken(config, file.path));
  return { name: 'service', fine: `the supervisor runs (process ${supervisor?.pid})`, findings };
}

function isInForce(kernel: KernelFacts): boolean {
  return kernel.is !== 'read' || (kernel.table.is === 'loaded' && kernel.table.inSync !== false);
}

function reload({ systemd }: ServiceFacts, path: string): string {
  return systemd?.installed ? 'systemctl reload knockd-nft' : `knockd-nft --config ${shellWord(path)} load`;
}

function troubled({ what, since }: Trouble, service: ServiceFacts, path: string): Finding {
  return {
    id: 'supervisor-troubled',
    severity: 'risk',
    what: `the supervisor, since ${new Date(since).toISOString()}: ${what}`,
    why: 'it tries again, and the former rules stay in force; but the file may not be in force',
    mend: reload(service, path),
  };
}

function notAtBoot(installed: boolean, config: Config | undefined): Finding {
  return {
    id: 'not-at-boot',
    severity: 'risk',
    what: 'nothing loads the table when the machine starts',
    why: `after a reboot ${guardsPorts(config) ? 'the guarded ports are open to every client' : UNSEEN}`,
    mend: installed
      ? 'systemctl enable knockd-nft-load knockd-nft'
      : 'apt install ./knockd-nft_VERSION_ARCHITECTURE.deb, which brings the services ("npm run deb" makes it)',
  };
}

function noSupervisor({ systemd }: ServiceFacts, path: string): Finding {
  return {
    id: 'no-supervisor',
    severity: 'note',
    what: 'no supervisor runs',
    why: 'the table stays and works, but no program follows the file, reports clients, or puts the table back after another tool removes it',
    mend: systemd?.installed ? 'systemctl start knockd-nft' : `knockd-nft --config ${shellWord(path)} run`,
  };
}

function otherFile(path: string): Finding {
  return {
    id: 'other-file',
    severity: 'note',
    what: `the supervisor follows another file: ${path}`,
    why: 'these findings are about a file that is not in force',
    mend: `knockd-nft --config ${shellWord(path)} doctor`,
  };
}

/** If the file makes no table itself, it includes others, and they decide what to write. */
function flushes(
  { unit, when, file, tables }: Flush,
  supervised: boolean,
  config: Config | undefined,
): Finding {
  const lost = guardsPorts(config) ? 'the guarded ports are open' : UNSEEN;
  const common = {
    severity: supervised ? 'note' : 'risk',
    why: supervised
      ? `the supervisor puts it back within a second; until then ${lost}`
      : `${lost} from then on`,
  } as const;
  if (when === 'it loads' && file !== undefined) {
    const own = tables.map(table => `table ${table}\\ndelete table ${table}`).join('\\n');
    return {
      ...common,
      id: 'flush-ruleset',
      what: `${unit} empties the whole ruleset when it starts or is reloaded, our table with it (${file})`,
      mend:
        tables.length > 0
          ? `sed -i 's/^[[:space:]]*flush ruleset.*/${own}/' ${shellWord(file)}`
          : `sudoedit ${shellWord(file)}  # for "flush ruleset", "table inet NAME; delete table inet NAME" for each of its tables`,
    };
  }
  const folder = `/etc/systemd/system/${shellWord(unit)}.d`;
  const own = tables.map(table => `table ${table}; delete table ${table}`).join('; ');
  const stop = tables.length > 0 ? `ExecStop=nft "${own}"\\n` : '';
  return {
    ...common,
    id: 'flush-at-stop',
    what: `${unit} empties the whole ruleset when it is stopped or restarted, our table with it`,
    mend: `mkdir -p ${folder} && printf '[Service]\\nExecStop=\\n${stop}' >${folder}/own-tables.conf && systemctl daemon-reload`,
  };
}

function groupTaken({ log }: Config, path: string): Finding {
  return {
    id: 'group-taken',
    severity: 'risk',
    what: `another program reads NFLOG group ${log.group}`,
    why: 'clients that come in are not reported; knocking works all the same',
    mend: `"group": ${log.group === 65535 ? 1 : log.group + 1}  in log in ${path}`,
  };
}
