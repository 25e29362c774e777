/** What a thread for a load finds in place of a command. */
export const THREAD = '--thread';
