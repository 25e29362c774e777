/** A program for tests: a service manager that binds the socket of its argument, and prints what it receives. */
import { writeSync } from 'node:fs';
import koffi from 'koffi';

const AF_UNIX = 1;
const SOCK_DGRAM = 2;
/** systemd takes no longer message (NOTIFY_BUFFER_MAX). */
const MOST = 4096;
/** The size of the whole message is the answer, also if it is longer (recv(2)). */
const MSG_TRUNC = 0x20;
const libc = koffi.load(null);
const socket = libc.func('int socket(int domain, int type, int protocol)');
const bind = libc.func('int bind(int fd, const void *address, uint32_t size)');
const recv = libc.func('intptr_t recv(int fd, _Out_ void *data, size_t size, int flags)');
const address = Buffer.concat([Buffer.from([AF_UNIX, 0]), Buffer.from(`${process.argv[2]}\0`)]);
const fd = socket(AF_UNIX, SOCK_DGRAM, 0);
if (bind(fd, address, address.length) !== 0) throw new Error('cannot bind');
writeSync(1, 'bound\n');
for (;;) {
  const data = Buffer.alloc(MOST);
  const size = Number(recv(fd, data, data.length, MSG_TRUNC));
  if (size < 0) throw new Error('cannot receive');
  if (size > MOST) continue;
  writeSync(1, `${data.toString('utf8', 0, size)}\n`);
}
