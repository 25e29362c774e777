/**
 * The program that `world.ts` starts in a host. It obeys JSON lines from stdin, answers on stdout, and ends when stdin ends.
 */
import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import { createServer, Socket } from 'node:net';
import { answerCalls, type Handlers } from '../../src/demo/calls.ts';
import type { ListenOptions, Reach, ReachOptions, Requests } from './host.ts';
import {
  deafListener,
  fastOpenSocket,
  multipathListener,
  multipathSocket,
  sendFrames,
  stayOnOneProcessor,
  transparentListener,
} from './libc.ts';
import { ask, capture, control, endCapture, flood, knock, probe, relay, send, sweep } from './traffic.ts';

const silence = 400; // ms
const datagramSilence = 800; // a program has to answer
const patience = 5000; // for what must succeed

function reachOf(error: NodeJS.ErrnoException): Reach {
  switch (error.code) {
    case 'ECONNREFUSED':
    case 'ECONNRESET':
      return 'refused';
    case 'EHOSTUNREACH':
    case 'ENETUNREACH':
    case 'EACCES':
      return 'unreachable';
    default:
      throw error;
  }
}

function localAddress({ from, localPort }: ReachOptions): { localAddress?: string; localPort?: number } {
  return { ...(from && { localAddress: from }), ...(localPort && { localPort }) };
}

/** A connected socket, or why there is none. */
function dial(options: Requests['open'][0]): Promise<Socket | Reach> {
  const { address: host, port, timeout = silence, multipath = false, fastOpen = false } = options;
  return new Promise((resolve, reject) => {
    const socket = new Socket(
      multipath ? { fd: multipathSocket(host) } : fastOpen ? { fd: fastOpenSocket(host) } : {},
    );
    socket.connect({ host, port, ...localAddress(options), noDelay: true });
    const timer = setTimeout(() => {
      // an answer that came while this process had no processor counts: it is read before the immediate
      setImmediate(() => {
        if (settled) return;
        socket.destroy();
        resolve('silent');
      });
    }, timeout);
    let settled = false;
    socket.once('connect', () => {
      settled = true;
      clearTimeout(timer);
      socket.removeAllListeners('error').on('error', () => {});
      resolve(socket);
    });
    socket.once('error', error => {
      settled = true;
      clearTimeout(timer);
      try {
        resolve(reachOf(error));
      } catch (unexpected) {
        reject(unexpected);
      }
    });
  });
}

interface Conversation {
  readonly socket: Socket;
  sent: number;
  received: number;
}

const conversations = new Map<number, Conversation>();
const listeners = new Map<number, Listening>();
let lastHandle = 0;

function handled<Value>(handles: ReadonlyMap<number, Value>, handle: number): Value {
  const value = handles.get(handle);
  if (!value) throw new Error('it was closed before');
  return value;
}

/** Waits until as much has come back as was sent. */
function echoed(conversation: Conversation, timeout: number): Promise<'alive' | 'dead'> {
  const { socket } = conversation;
  return new Promise(resolve => {
    const settle = (result: 'alive' | 'dead') => {
      clearTimeout(timer);
      socket.off('data', look).off('close', dead);
      resolve(result);
    };
    const look = () => conversation.received >= conversation.sent && settle('alive');
    const dead = () => settle('dead');
    const timer = setTimeout(dead, timeout);
    socket.on('data', look).once('close', dead);
    if (socket.destroyed) dead();
  });
}

interface Listening {
  arrived: number;
  readonly close: () => void;
}

/** Keeps the listener for later calls. */
function kept(listener: Listening, port: number): Requests['listen'][1] {
  listeners.set(++lastHandle, listener);
  return { listener: lastHandle, port };
}

async function listenTcp(
  port: number,
  address: string,
  { backlog, multipath, transparent }: ListenOptions,
): Promise<Requests['listen'][1]> {
  const server = createServer(socket => {
    listener.arrived++;
    open.add(socket);
    socket.on('error', () => {}).on('close', () => open.delete(socket));
    socket.pipe(socket);
  });
  const open = new Set<Socket>();
  const listener = {
    arrived: 0,
    close() {
      server.close();
      for (const socket of open) socket.destroy();
    },
  };
  server.listen({
    ...(multipath
      ? { fd: multipathListener(address, port) }
      : transparent
        ? { fd: transparentListener(port) }
        : { port, host: address }),
    ...(backlog !== undefined && { backlog }),
  });
  await once(server, 'listening');
  const bound = server.address();
  return kept(listener, typeof bound === 'object' && bound ? bound.port : port);
}

async function listenUdp(port: number, address: string): Promise<Requests['listen'][1]> {
  const socket = createSocket(address.includes(':') ? 'udp6' : 'udp4');
  const listener = { arrived: 0, close: () => void socket.close() };
  socket.on('message', (message, from) => {
    listener.arrived++;
    if (from.port > 0) socket.send(message, from.port, from.address, () => {}); // it does not matter if the asker is gone
  });
  socket.bind(port, address);
  await once(socket, 'listening');
  return kept(listener, socket.address().port);
}

const handlers: Handlers<Requests> = {
  async connect(options) {
    const socket = await dial(options);
    if (typeof socket === 'string') return socket;
    socket.resetAndDestroy(); // no TIME_WAIT, so the same local port can be used again
    return 'open';
  },
  async open(options) {
    const socket = await dial({ timeout: patience, ...options });
    if (typeof socket === 'string') throw new Error(`${options.address} port ${options.port} is ${socket}`);
    const conversation = { socket, sent: 0, received: 0 };
    socket.on('data', data => {
      conversation.received += data.length;
    });
    conversations.set(++lastHandle, conversation);
    return lastHandle;
  },
  say({ session, text, timeout }) {
    const conversation = handled(conversations, session);
    conversation.sent += Buffer.byteLength(text);
    conversation.socket.write(text);
    return echoed(conversation, timeout);
  },
  async hangUp({ session }) {
    const { socket } = handled(conversations, session);
    conversations.delete(session);
    if (!socket.destroyed) {
      const closed = once(socket, 'close');
      socket.destroy();
      await closed;
    }
    return null;
  },
  async udp(options) {
    const { address, port, payload, timeout = datagramSilence, from, localPort } = options;
    const socket = createSocket(address.includes(':') ? 'udp6' : 'udp4');
    let timer: NodeJS.Timeout | undefined;
    try {
      socket.bind(localPort, from);
      await once(socket, 'listening');
      socket.connect(port, address);
      await once(socket, 'connect');
      const silent = new AbortController();
      // an answer that came while this process had no processor is read before the immediate
      timer = setTimeout(() => setImmediate(() => silent.abort()), timeout);
      const answer = once(socket, 'message', { signal: silent.signal });
      socket.send(payload, error => error && socket.emit('error', error));
      const [message] = await answer;
      return String(message);
    } catch (error) {
      if (error instanceof Error && error.name === 'AbortError') return 'silent';
      return reachOf(error as NodeJS.ErrnoException);
    } finally {
      clearTimeout(timer);
      socket.close();
    }
  },
  async listen({ port, ...options }) {
    const { protocol = 'tcp', address = '::', accept = true, backlog } = options;
    if (!accept) return kept({ arrived: 0, ...deafListener(address, port, backlog ?? 0) }, port);
    return protocol === 'tcp' ? listenTcp(port, address, options) : listenUdp(port, address);
  },
  arrived: async ({ listener }) => handled(listeners, listener).arrived,
  async unlisten({ listener }) {
    handled(listeners, listener).close();
    listeners.delete(listener);
    return null;
  },
  knock,
  send,
  control,
  async frames({ from, frames }) {
    sendFrames(
      from,
      frames.map(frame => Buffer.from(frame, 'hex')),
    );
    return null;
  },
  flood,
  sweep,
  capture,
  endCapture,
  relay,
  probe,
  ask,
};

stayOnOneProcessor();
answerCalls(handlers).on('close', () => process.exit());
