import { type Context, EXIT } from './context.ts';
export async function demoCommand(_: Context): Promise<number> {
  return EXIT.FAILED;
}
