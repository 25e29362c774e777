// libc/ calls functions of the C library that Node.js does not offer, through npm koffi. No other room imports koffi.
// Without koffi's native part this room cannot be imported.
// Floor 0: it imports from no other room.

import koffi from 'koffi';

// All calls here return at once. If koffi's native part is missing, `netlink/supported.ts` says so before a command needs it.
const library = koffi.load(null);

type Call<A extends readonly unknown[]> = (...values: A) => number;

/** A function by its prototype, which is read at the first call, since most commands need one or two of them. */
function declare<A extends readonly unknown[]>(prototype: string): Call<A> {
  let call: Call<A> | undefined;
  return (...values) => {
    call ??= library.func(prototype) as Call<A>;
    return call(...values);
  };
}

/** The error of the last call that failed, as a positive number. */
export function errno(): number {
  return koffi.errno();
}

/** 0, or -1 with {@link errno}. `size` is that of the value, 4 bytes. */
export const setsockopt = declare<
  [fd: number, level: number, name: number, value: readonly [number], size: 4]
>('int setsockopt(int fd, int level, int name, const int *value, uint32_t size)');

koffi.struct('sock_fprog', { len: 'uint16_t', filter: 'void *' });

/** The same for SO_ATTACH_FILTER. `filter` holds `len` instructions of 8 bytes: struct sock_filter. `size` is that of the value. */
export const setFilter = declare<
  [
    fd: number,
    level: number,
    name: number,
    value: { readonly len: number; readonly filter: Buffer },
    size: number,
  ]
>('int setsockopt(int fd, int level, int name, const sock_fprog *value, uint32_t size)');
/** Bytes of a struct sock_fprog. */
export const SOCK_FPROG = koffi.sizeof('sock_fprog');

/** 0, or -1 with {@link errno}. `size` holds the size of `value`. */
export const getsockopt = declare<
  [fd: number, level: number, name: number, value: Buffer, size: readonly [number]]
>('int getsockopt(int fd, int level, int name, void *value, _Inout_ uint32_t *size)');

/** A descriptor, or -1 with {@link errno}. */
export const socket = declare<[domain: number, type: number, protocol: number]>(
  'int socket(int domain, int type, int protocol)',
);

/** The number of bytes sent, or -1 with {@link errno}. */
export const sendto = declare<
  [fd: number, data: Buffer, size: number, flags: number, address: Buffer, addressSize: number]
>(
  'intptr_t sendto(int fd, const void *data, size_t size, int flags, const void *address, uint32_t address_size)',
);

/** 0, or -1 with {@link errno}. */
export const flock = declare<[fd: number, operation: number]>('int flock(int fd, int operation)');

/** The state of the clock, or -1. `buffer` is a struct timex. */
export const adjtimex = declare<[buffer: Buffer]>('int adjtimex(void *buffer)');
/** Bytes of a `long` of C. */
export const LONG = koffi.sizeof('long');

/** 0, or -1 with {@link errno}. `address` and `size` are those of whole pages. */
export const madvise = declare<[address: number, size: number, advice: number]>(
  'int madvise(uintptr_t address, size_t size, int advice)',
);

/** Gives memory that a thread left in the C library's heap back to the system. musl cannot: there it does nothing. */
export function mallocTrim(): void {
  try {
    trim(0);
  } catch {}
}
const trim = declare<[pad: number]>('int malloc_trim(size_t pad)');
