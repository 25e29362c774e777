/** The places of a client's files. Windows is simulated here: no such machine was at hand. */
import { chownSync, mkdtempSync, rmSync } from 'node:fs';
import { homedir, tmpdir } from 'node:os';
import { join } from 'node:path';
import t from 'tap';
import { hostsPath, runtimeFolder, stateFolder } from '../../src/client/folders.ts';

t.test('files stand where XDG says', async t => {
  t.equal(hostsPath({ XDG_CONFIG_HOME: '/elsewhere' }), '/elsewhere/knockd-nft/hosts.json');
  t.equal(stateFolder({ XDG_STATE_HOME: '/elsewhere' }), '/elsewhere/knockd-nft');
  for (const other of [undefined, '', 'relative']) {
    t.equal(hostsPath({ XDG_CONFIG_HOME: other }), join(homedir(), '.config/knockd-nft/hosts.json'));
    t.equal(stateFolder({ XDG_STATE_HOME: other }), join(homedir(), '.local/state/knockd-nft'));
    t.equal(runtimeFolder({ XDG_RUNTIME_DIR: other }), stateFolder({}));
  }
  t.equal(hostsPath({ APPDATA: '/elsewhere' }), hostsPath({}), 'what is of Windows counts only there');
});

t.test("the runtime folder is the user's own, or none", async t => {
  const folder = mkdtempSync(join(tmpdir(), 'knockd-nft-runtime-'));
  t.teardown(() => rmSync(folder, { recursive: true }));
  t.equal(runtimeFolder({ XDG_RUNTIME_DIR: folder }), join(folder, 'knockd-nft'));
  t.equal(runtimeFolder({ XDG_RUNTIME_DIR: join(folder, 'gone') }), stateFolder({}));
  if (process.getuid?.() !== 0) return;
  chownSync(folder, 12345, 12345); // as after `sudo -E`
  t.equal(runtimeFolder({ XDG_RUNTIME_DIR: folder }), stateFolder({}));
});

t.test('on Windows they stand in the folders of the user', async t => {
  t.intercept(process, 'platform', { value: 'win32' });
  const env = {
    APPDATA: 'C:\\Users\\me\\AppData\\Roaming',
    LOCALAPPDATA: 'C:\\Users\\me\\AppData\\Local',
  };
  t.equal(hostsPath(env), 'C:\\Users\\me\\AppData\\Roaming\\knockd-nft\\hosts.json');
  t.equal(stateFolder(env), 'C:\\Users\\me\\AppData\\Local\\knockd-nft');
  t.equal(runtimeFolder(env), stateFolder(env));
  t.equal(hostsPath({ ...env, XDG_CONFIG_HOME: 'D:\\mine' }), 'D:\\mine\\knockd-nft\\hosts.json');
});
