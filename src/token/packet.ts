/** The UDP port that tokens are sent to, unless the files say otherwise. */
export const DEFAULT_PORT = 62201;

/** Bytes before the token: as many as a browser's STUN request has before the user name. */
export const TOKEN_OFFSET = 24;

/** The data of a datagram with the token. */
export function tokenDatagram(token: string): string {
  return 'knockd-nft/1'.padEnd(TOKEN_OFFSET) + token;
}

/** The data of a segment with the token. A web server understands it, too, and answers that there is no such page. */
export function tokenRequest(token: string, host: string): string {
  const start = 'GET /knockd-nft/1'.padEnd(TOKEN_OFFSET, '.');
  return `${start}${token} HTTP/1.1\r\nHost: ${host}\r\nConnection: close\r\n\r\n`;
}
