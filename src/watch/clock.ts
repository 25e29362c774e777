// watch/ shows events as lines, or the state as a picture of the terminal's size.
// It reads the kernel and the supervisor's events, and changes nothing.
// Floor 7: it imports only from rooms on lower floors.

/** `12:00:01`, in local time. */
export function clockText(time: Date): string {
  return time.toTimeString().slice(0, 8);
}
