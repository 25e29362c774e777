/** A program for tests: a service manager that binds the socket of its argument, and never reads. */
import koffi from 'koffi';

const AF_UNIX = 1;
const SOCK_DGRAM = 2;
const libc = koffi.load(null);
const socket = libc.func('int socket(int domain, int type, int protocol)');
const bind = libc.func('int bind(int fd, const void *address, uint32_t size)');
const address = Buffer.concat([Buffer.from([AF_UNIX, 0]), Buffer.from(`${process.argv[2]}\0`)]);
if (bind(socket(AF_UNIX, SOCK_DGRAM, 0), address, address.length) !== 0) throw new Error('cannot bind');
process.stdout.write('bound\n');
setInterval(() => {}, 60_000);
