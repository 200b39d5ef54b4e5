/**
 * Questions and answers between nodes, written to etcd.
 *
 * Rule: an answer hangs on the lease of the question, so nothing of either outlives its asker.
 */
import type { Keys } from "../core/names.ts";
import { stableJson } from "../core/records.ts";
import type { VipNode } from "../core/state-answer.ts";
import type { EtcdClient, LeaseId } from "../core/store.ts";
import type { VipQuestion } from "../core/vip-swarm.ts";

export interface LettersOptions { readonly client: Pick<EtcdClient, "grantLease" | "revokeLease" | "txn">; readonly keys: Keys }

/** Longer than anybody waits for an answer. */
const QUESTION_SECONDS = 20;

/** Resolves when every node can see it; the answer takes it away again, with whatever was answered. Rejects when etcd does not answer. */
export async function ask({ client, keys }: LettersOptions, question: VipQuestion): Promise<() => Promise<void>> {
  const lease = await client.grantLease(QUESTION_SECONDS);
  await client.txn({ compare: [], success: [{ do: "put", key: keys.question(question.id), value: stableJson(question), lease }] });
  return () => client.revokeLease(lease);
}

/** Rejects with `not-found` when nobody waits any more. */
export async function reply({ client, keys }: LettersOptions, to: string, lease: LeaseId, answer: VipNode): Promise<void> {
  await client.txn({ compare: [], success: [{ do: "put", key: keys.answer(to, answer.id), value: stableJson(answer), lease }] });
}
