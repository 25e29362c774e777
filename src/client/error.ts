/** An error on the way to a host, in a sentence for people that says what to do. */
export class ClientError extends Error {
  override readonly name = 'ClientError';
}
