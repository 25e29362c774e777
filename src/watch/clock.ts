/** `12:00:01`, in local time. */
export function clockText(time: Date): string {
  return time.toTimeString().slice(0, 8);
}
