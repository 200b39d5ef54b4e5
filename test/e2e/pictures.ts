/**
 * A node's kernel beside the picture that setup.ts took before the first suite.
 *
 * In:  a node; how a dump is read.  Out: both readings, for the test to compare.
 * Rule: Docker takes its own things away after its answer; what still differs at the deadline is left over.
 */
import { readFile } from "node:fs/promises";
import { isDeepStrictEqual } from "node:util";
import { kernelDump, until, type Node } from "./bed.ts";
import { BASELINE } from "./setup.ts";

const REST_MS = 20_000;

export async function pictures<T>(node: Node, read: (dump: string) => T): Promise<{ readonly before: T; readonly after: T }> {
  const before = read(await readFile(`${BASELINE}/${node.name}`, "utf8"));
  let after = read(await kernelDump(node));
  await until("the kernel to be at rest", async () => {
    after = read(await kernelDump(node));
    return isDeepStrictEqual(after, before);
  }, REST_MS).catch(() => undefined);
  return { before, after };
}
