/** Before the first contract suite: the programs that the adapters call, beside what a lab needs anyway. */
import { prepareHost } from "../../lab/host.ts";

const ADAPTERS = {
  "iptables-nft-restore": "iptables", "iptables-legacy-restore": "iptables", ipset: "ipset", conntrack: "conntrack", ping: "iputils-ping", dig: "bind9-dnsutils",
  python3: "python3-minimal",
} as const;

export default async function setup(): Promise<void> {
  await prepareHost((line) => { process.stderr.write(`   ${line}\n`); }, ADAPTERS);
}
