/** `12:00:01`, where we are. */
export function clockText(time: Date): string {
  return time.toTimeString().slice(0, 8);
}
