/**
 * One line of a story as its parts: `service api on web,back replicas 3 at node2 mode dnsrr as node9 = text`.
 */
import type { Service } from "../../src/core/model.ts";

export interface Line {
  readonly verb: string;
  readonly word: string;
  readonly on: readonly string[];
  readonly at: string | undefined;
  readonly as: string | undefined;
  readonly replicas: number;
  readonly mode: Service["mode"];
  /** What follows an equals sign. */
  readonly text: string;
}

export function parseLine(line: string): Line {
  const [head = "", text = ""] = line.split(" = ", 2);
  const [verb = "", ...rest] = head.trim().split(/\s+/);
  const word = rest.length % 2 === 1 ? rest.shift() ?? "" : "";
  const named = new Map(rest.flatMap((key, n) => (n % 2 === 0 ? [[key, rest[n + 1] ?? ""] as const] : [])));
  for (const key of named.keys()) if (!["on", "at", "as", "replicas", "mode"].includes(key)) throw new Error(`no story knows ${key} in ${JSON.stringify(line)}`);
  return {
    verb, word, text, on: named.get("on")?.split(",") ?? [], at: named.get("at"), as: named.get("as"),
    replicas: Number(named.get("replicas") ?? 0), mode: named.get("mode") === "dnsrr" ? "dnsrr" : "vip",
  };
}
