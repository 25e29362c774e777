/** A thread for a load gets this word in place of a command. */
export const THREAD = '--thread';
