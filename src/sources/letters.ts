/**
 * Questions and answers between nodes, as they lie in etcd: `docker/questions/<id>` and `docker/answers/<id>/<node>`.
 *
 * In:  one key and its text.  Out: who asks what, who answers what, or why it is unreadable.
 * Rule: pure; what nobody can read is nobody's question, and an answer that says nothing. Both end with the asker's lease.
 */
import * as z from "zod/mini";
import type { Keys } from "../core/names.ts";
import type { VipNode } from "../core/state-answer.ts";
import type { LeaseId, StoredItem } from "../core/store.ts";
import { silent, type VipQuestion } from "../core/vip-swarm.ts";
import { ipv4 } from "./etcd-records.ts";
import { reasonOf } from "./reason.ts";

const count = z.number().check(z.gte(0));
const backend = z.object({
  address: ipv4, state: z.enum(["ready", "draining", "missing"]), weight: count, connections: count, drainingMs: count, container: z.string(), node: z.string(),
});
const row = z.object({
  service: z.string(), network: z.string(), vip: ipv4, scheduler: z.string(), backends: z.array(backend), differences: z.array(z.string()),
});
const question = z.object({ id: z.string(), asker: z.string(), service: z.exactOptional(z.string()), size: count });
const answer = z.object({
  id: z.string(), node: z.string(), balancer: z.exactOptional(z.object({ engine: z.enum(["ipvs", "nftables", "off"]), why: z.string() })),
  vips: z.array(row), cut: count, cutDiffering: count, missing: z.exactOptional(z.string()),
});

export type Question = { readonly question: VipQuestion; readonly lease: LeaseId } | { readonly garbage: string };

export const isLetter = ({ questions, answers }: Keys, { key }: StoredItem): boolean => key.startsWith(questions) || key.startsWith(answers);

export function readQuestion({ questions }: Keys, { key, value, lease }: StoredItem): Question {
  const read = question.safeParse(parsed(value));
  if (!read.success) return { garbage: reasonOf(read.error) };
  if (key !== `${questions}${read.data.id}`) return { garbage: `it is the question ${read.data.id}` };
  return lease === undefined ? { garbage: "it would lie there for ever" } : { question: read.data, lease };
}

/** Whoever it is of, by its key. */
export function readAnswer({ answers }: Keys, { key, value }: StoredItem): VipNode {
  const id = key.slice(answers.length).split("/").slice(1).join("/");
  const read = answer.safeParse(parsed(value));
  if (read.success && read.data.id === id) return read.data;
  return silent(id, id, `its answer cannot be read: ${read.success ? `it is of ${read.data.id}` : reasonOf(read.error)}`);
}

function parsed(text: string): unknown {
  try { return JSON.parse(text); } catch { return undefined; }
}
