/**
 * flanneld's subnet file: what it tells about the lease it holds, and what it reads at its next start.
 *
 * Rule: pure; a file that cannot be read as one is the same as none, flanneld writes it anew.
 */
import { parseCidr } from "../../core/ids.ts";
import type { SubnetFile } from "./vocabulary.ts";

export function parseSubnetFile(text: string): SubnetFile | undefined {
  const fields = new Map<string, string>();
  for (const line of text.split("\n")) {
    const at = line.indexOf("=");
    if (at > 0) fields.set(line.slice(0, at).trim(), line.slice(at + 1).trim());
  }
  const network = parseCidr(fields.get("FLANNEL_NETWORK") ?? "");
  const subnet = parseCidr(fields.get("FLANNEL_SUBNET") ?? "");
  const mtuBytes = Number(fields.get("FLANNEL_MTU"));
  return network !== undefined && subnet !== undefined && Number.isInteger(mtuBytes) && mtuBytes > 0
    ? { network, subnet, mtuBytes } : undefined;
}
