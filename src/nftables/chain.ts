// nftables/ has tables, sets, elements, rules and expressions as values, as bytes of netlink, and as nft's text.
// A transaction is a list of changes. Nothing here knows the purpose of our table.
// Floor 2: it imports only from rooms on lower floors.

import { type AttributeReader, DecodeError, required } from '../netlink/attributes.ts';
import { NLM_F } from '../netlink/connection.ts';
import type { Message } from '../netlink/nfnetlink.ts';
import { type Change, change } from './change.ts';
import { NFT_MSG } from './message.ts';
import type { Chain, Hook } from './ruleset.ts';

/** enum nf_inet_hooks, in its order */
const HOOKS = [
  'prerouting',
  'input',
  'forward',
  'output',
  'postrouting',
  'ingress',
] as const satisfies readonly Hook['name'][];
/** enum nft_chain_attributes and nft_hook_attributes */
const NFTA_CHAIN = { TABLE: 1, NAME: 3, HOOK: 4, POLICY: 5, TYPE: 7 } as const;
const NFTA_HOOK = { HOOKNUM: 1, PRIORITY: 2 } as const;
/** NF_DROP and NF_ACCEPT */
const POLICIES = ['drop', 'accept'] as const;

/** Makes a chain, or changes the policy of an existing one. The kernel refuses to change its hook: delete the chain first. */
export function newChain(table: string, chain: Chain): Change {
  const { name, hook } = chain;
  return change(
    'add',
    table,
    { kind: 'chain', chain },
    {
      type: NFT_MSG.NEWCHAIN,
      flags: NLM_F.CREATE,
      write(writer) {
        writer.string(NFTA_CHAIN.TABLE, table);
        writer.string(NFTA_CHAIN.NAME, name);
        if (!hook) return;
        writer.nested(NFTA_CHAIN.HOOK, nest => {
          nest.be32(NFTA_HOOK.HOOKNUM, HOOKS.indexOf(hook.name));
          nest.be32(NFTA_HOOK.PRIORITY, hook.priority);
        });
        writer.be32(NFTA_CHAIN.POLICY, POLICIES.indexOf(hook.policy));
        writer.string(NFTA_CHAIN.TYPE, 'filter');
      },
    },
  );
}

/** Removes a chain and its rules. No rule may jump to it any more. */
export function deleteChain(table: string, name: string): Change {
  return change(
    'delete',
    table,
    { kind: 'chain', chain: { name } },
    {
      type: NFT_MSG.DELCHAIN,
      flags: 0,
      write(writer) {
        writer.string(NFTA_CHAIN.TABLE, table);
        writer.string(NFTA_CHAIN.NAME, name);
      },
    },
  );
}

/** The request that dumps all chains of the family. The kernel cannot narrow it to a table. */
export const getChains: Message = { type: NFT_MSG.GETCHAIN, flags: 0, subject: 'chains', write() {} };

export function decodeChain(reader: AttributeReader): Chain & { readonly table: string } {
  let table: string | undefined;
  let name: string | undefined;
  let hook: AttributeReader | undefined;
  let policy = 1;
  while (reader.next()) {
    if (reader.type === NFTA_CHAIN.TABLE) table = reader.string();
    else if (reader.type === NFTA_CHAIN.NAME) name = reader.string();
    else if (reader.type === NFTA_CHAIN.HOOK) hook = reader.nested();
    else if (reader.type === NFTA_CHAIN.POLICY) policy = reader.be32();
  }
  const chain = { table: required(table, 'table of chain'), name: required(name, 'chain name') };
  return hook ? { ...chain, hook: decodeHook(hook, POLICIES[policy] ?? 'drop') } : chain;
}

function decodeHook(reader: AttributeReader, policy: Hook['policy']): Hook {
  let number: number | undefined;
  let priority: number | undefined;
  while (reader.next()) {
    if (reader.type === NFTA_HOOK.HOOKNUM) number = reader.be32();
    else if (reader.type === NFTA_HOOK.PRIORITY) priority = reader.be32() | 0;
  }
  const name = HOOKS[required(number, 'hook number')];
  if (name === undefined) throw new DecodeError(`hook ${number} is not known`);
  return { name, priority: required(priority, 'hook priority'), policy };
}
