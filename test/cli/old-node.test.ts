/** Old versions of Node.js and the program's two files. 12, 16 and 18 were tried by hand; here they are simulated. */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { parse } from 'acorn';
import { full } from 'acorn-walk';
import t from 'tap';
import { run } from '../kernel/process.ts';
import { missing } from '../kernel/world.ts';

const built = { skip: missing('knockd') };
const programs = [resolve('dist/knockd-nft.cjs'), resolve('dist/client.cjs')];

t.test('a Node.js that is too old ends with one sentence', built, async t => {
  const folder = mkdtempSync(join(tmpdir(), 'knockd-nft-old-'));
  t.teardown(() => rmSync(folder, { recursive: true }));
  const old = join(folder, 'old.cjs');
  const told = ['12.22.12', '16.20.2', '18.20.8', '20.0.0'];
  for (const [version, program] of told.flatMap(version => programs.map(it => [version, it] as const))) {
    const versions = { ...process.versions, node: version };
    writeFileSync(old, `Object.defineProperty(process, 'versions', { value: ${JSON.stringify(versions)} });`);
    const { status, stdout, stderr } = await run([process.execPath, '-r', old, program, '--version']);
    if (version === '20.0.0') {
      t.match({ status, stderr }, { status: 0, stderr: '' });
      continue;
    }
    t.equal(stderr, `knockd-nft: Node.js 20 or newer is needed; this is ${version}\n`);
    t.same({ status, stdout }, { status: 1, stdout: '' });
  }
});

/** Syntax that came after ES2019, except for class fields, which 12 has. */
interface Newer {
  readonly operator?: string;
  readonly key?: { readonly type: string };
  readonly left?: { readonly type: string };
}

function isNewer({ type, operator = '', key, left }: { readonly type: string } & Newer): boolean {
  if (['ChainExpression', 'StaticBlock'].includes(type)) return true; // a?.b
  if (['??', '??=', '||=', '&&='].includes(operator)) return true;
  if (operator === 'in' && left?.type === 'PrivateIdentifier') return true;
  return type === 'MethodDefinition' && key?.type === 'PrivateIdentifier';
}

t.test('the files have no syntax that Node.js 12 cannot parse', built, async t => {
  const found: string[] = [];
  const look = (text: string) =>
    full(parse(text, { ecmaVersion: 2022, allowHashBang: true }), node => {
      if (isNewer(node)) found.push(`${node.type} at ${node.start}`);
    });
  look('class A { static {} #b() { a?.b; return #b in a; } c = a ?? b; d() { a ||= b; } }');
  t.equal(found.splice(0).length, 6, 'it would be seen');
  for (const program of programs) look(readFileSync(program, 'utf8'));
  t.same(found, []);
});
