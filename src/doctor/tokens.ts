import { resolve } from 'node:path';
import { SERVICE_USER } from '../host/service-user.ts';
import { formatPort } from '../inet/port.ts';
import { shellWord } from '../terminal/shell.ts';
import type { Facts } from './facts.ts';
import type { Checked, Finding } from './finding.ts';

/** Checks that one-time tokens are fed, can be remembered, and arrive. */
export function checkTokens({ config, file, host, service, tokens }: Facts): Checked {
  const findings: Finding[] = [];
  const { port } = config?.token ?? {};
  const isUsed = config?.services.some(service => service.tokens.length > 0) ?? false;
  if (!isUsed || !port || !tokens) return { name: 'tokens', fine: 'no user has one-time tokens', findings };
  const { clock, folder, until } = tokens;
  if (clock === 'waits')
    findings.push({
      id: 'clock-unknown',
      severity: 'broken',
      what: 'the clock is not synchronized, and this machine has no clock that runs while it is off',
      why: 'no token is fed until it is: after a boot the clock may show a time in the past, whose tokens were used',
      mend: 'timedatectl set-ntp true',
    });
  else if (clock === 'unsynchronized')
    findings.push({
      id: 'clock-unsynchronized',
      severity: 'note',
      what: 'nothing keeps the clock in step with true time',
      why: 'each token belongs to one minute: if the clock is more than a minute off, tokens of clients open nothing',
      mend: 'timedatectl set-ntp true',
    });
  const path = shellWord(resolve(folder?.path ?? ''));
  if (folder !== undefined)
    findings.push({
      id: 'tokens-unkept',
      severity: 'risk',
      what: `used tokens cannot be remembered: ${folder.path} cannot be written (${folder.why})`,
      why: 'after each restart the tokens of five minutes are left out',
      mend: `install -d -m 0700 ${path} && chown -R ${SERVICE_USER}: ${path} && systemctl restart knockd-nft`,
    });
  if (until !== undefined && until <= tokens.now)
    findings.push({
      id: 'tokens-ran-out',
      severity: 'broken',
      what: `the last token ended at ${new Date(until).toISOString()}: no new ones were fed`,
      why: 'no token opens anything',
      mend: service.systemd?.installed
        ? 'systemctl restart knockd-nft'
        : `knockd-nft --config ${shellWord(file.path)} load`,
    });
  const listener = host.listeners?.find(it => it.protocol === port.protocol && it.port === port.port);
  if (listener)
    findings.push({
      id: 'token-port-taken',
      severity: 'note',
      what: `a program listens on ${formatPort(port)}, the port of tokens`,
      why: 'it gets each token after the kernel has used it up, and may answer: then the port no longer looks like its neighbours. If you change the port, tell the clients',
      mend: `"token": { "port": "62202/udp" }  in ${file.path}`,
    });
  return { name: 'tokens', fine: 'they are fed, and those that were used are remembered', findings };
}
