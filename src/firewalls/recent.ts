/**
 * iptables' `recent`: struct xt_recent_mtinfo {u32 seconds, hit_count; u8 check_set, invert; char name[200]; …}. XT_RECENT_SET
 * (which always matches), XT_RECENT_UPDATE and XT_RECENT_REMOVE write to the list.
 */
export function recentList(info: Buffer): {
  readonly list: string;
  readonly sets: boolean;
  readonly writes: boolean;
} {
  const does = info.readUInt8(8);
  return {
    list: info.toString('latin1', 10, 210).replace(/\0.*$/s, ''),
    sets: (does & 2) !== 0,
    writes: (does & (2 | 4 | 8)) !== 0,
  };
}
