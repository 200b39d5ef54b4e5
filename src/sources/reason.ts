/** Why a decoder refused a value, in one short sentence: zod/mini carries no texts of its own. */
import type { core } from "zod/mini";

export function reasonOf(error: core.$ZodError): string {
  const issue = error.issues[0];
  if (issue === undefined) return "unreadable";
  const at = issue.path.length === 0 ? "it" : issue.path.join(".");
  if (issue.message !== "Invalid input") return `${at}: ${issue.message}`;
  const wanted: unknown = Reflect.get(issue, "expected") ?? Reflect.get(issue, "values");
  return wanted === undefined ? `${at} is out of range` : `${at} is not ${Array.isArray(wanted) ? `one of ${wanted.join(", ")}` : String(wanted)}`;
}
