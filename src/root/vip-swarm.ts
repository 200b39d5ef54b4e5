/**
 * Every node's VIPs, asked through etcd: nodes share nothing else that both can reach.
 *
 * In:  the letters that the watch brings.  Out: answers to the others' questions; `GET /vips/all`.
 * Rule: who does not answer in time is named. Without etcd this node's part is shown all the same, and why it is alone.
 */
import { filter, lastValueFrom, map, mergeMap, takeUntil, takeWhile, tap, timer, type Observable } from "rxjs";
import { asOperatorError, explain } from "../core/errors.ts";
import { newBootId } from "../core/ids.ts";
import type { VipAnswer, VipNode } from "../core/state-answer.ts";
import { errorState } from "../core/status.ts";
import type { StoredItem } from "../core/store.ts";
import { answerSize, cutTo, neighboursOf, rowsOf, silent, swarmVips, type Heard, type VipQuestion } from "../core/vip-swarm.ts";
import type { DebugOptions } from "../plugin/debug.ts";
import { ask, reply, type LettersOptions } from "../sinks/letters.ts";
import { readAnswer, readQuestion } from "../sources/letters.ts";
import type { Base } from "./base.ts";
import type { Facts } from "./facts.ts";

/** Longest wait for the others' answers, and for this node's kernel when another one asks. */
const WAIT_MS = 5_000;
const KERNEL_MS = 4_000;
/** Questions answered at a time: each makes the kernel list its connections. */
const AT_ONCE = 2;

type Vips = (signal: AbortSignal) => Promise<VipAnswer>;
type Known = Pick<Facts, "client" | "snapshot$" | "letters$">;

export function vipsOfSwarm({ keys, emit }: Pick<Base, "keys" | "emit">, { client, snapshot$, letters$ }: Known, vips: Vips): DebugOptions["vipsOfSwarm"] {
  const etcd = { client, keys };
  const self = (): string => snapshot$.value.node.id ?? snapshot$.value.node.hostname;
  const own = async (service: string | undefined, signal: AbortSignal): Promise<VipNode> => {
    const [id, node] = [self(), snapshot$.value.node.hostname];
    try {
      const { vips: rows, ...balancer } = await vips(signal);
      return { id, node, balancer, vips: rowsOf(rows, service), cut: 0, cutDiffering: 0 };
    } catch (error) { return silent(id, node, explain(asOperatorError(error))); }
  };
  const answer = async (item: StoredItem): Promise<void> => {
    const letter = readQuestion(keys, item);
    if ("garbage" in letter) emit("source.garbage", { source: "etcd", key: item.key, reason: letter.garbage });
    else if (letter.question.asker !== self()) {
      const part = await own(letter.question.service, AbortSignal.timeout(KERNEL_MS));
      await reply(etcd, letter.question.id, letter.lease, cutTo(letter.question.size, part));
    }
  };
  // The asker names who did not answer; an asker that is gone needs none.
  letters$.pipe(filter(({ key }) => key.startsWith(keys.questions)), mergeMap((item) => answer(item).catch(() => undefined), AT_ONCE)).subscribe();
  return async (service, signal) => {
    const neighbours = neighboursOf(snapshot$.value);
    const speaking = neighbours.filter(({ mute }) => mute === undefined).map(({ id }) => id);
    const question = { id: newBootId(), asker: self(), size: answerSize(speaking.length), ...(service === undefined ? {} : { service }) };
    const [mine, heard] = await Promise.all([own(service, signal), speaking.length === 0 ? NOBODY : collect(etcd, letters$, question, speaking)]);
    return swarmVips({ own: mine, neighbours, waitedMs: WAIT_MS, ...heard });
  };
}

type Collected = Pick<Heard, "answers" | "problem">;
const NOBODY: Collected = { answers: new Map() };

/** Until all of these have answered, or the time is over. */
async function collect(etcd: LettersOptions, letters$: Observable<StoredItem>, question: VipQuestion, from: readonly string[]): Promise<Collected> {
  const answers = new Map<string, VipNode>();
  const start = etcd.keys.answer(question.id, "");
  const all = lastValueFrom(letters$.pipe(
    filter(({ key }) => key.startsWith(start)), map((item) => readAnswer(etcd.keys, item)), tap((part) => answers.set(part.id, part)),
    takeWhile(() => !from.every((id) => answers.has(id))), takeUntil(timer(WAIT_MS)),
  ), { defaultValue: undefined });
  try {
    const over = await ask(etcd, question);
    await all;
    // Out of reach, it ends by itself.
    over().catch(() => undefined);
    return { answers };
  } catch (error) {
    return { answers, problem: errorState(asOperatorError(error)) };
  }
}
