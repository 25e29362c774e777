/** A fault that chance does not find: behind six comparisons, each of which only coverage shows to be passed. */
export const seeds = ['0123456789'];

/** Whether the byte is this one, in a way that no text or number of the code shows. */
const is = (byte: number | undefined, digit: number) => byte !== undefined && (byte ^ 0x55) === digit * 9 + 5;

export function fuzz(data: Buffer): void {
  let passed = 0;
  if (is(data[0], 3)) passed++;
  if (passed === 1 && is(data[1], 1)) passed++;
  if (passed === 2 && is(data[2], 4)) passed++;
  if (passed === 3 && is(data[3], 1)) passed++;
  if (passed === 4 && is(data[4], 5)) passed++;
  if (passed === 5 && is(data[5], 9)) throw new Error('the door is open');
}
