/** What the installed ip, nft and iptables say is what the recordings say that the parsers are tested on. */
import { existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "@jest/globals";
import type { Exec } from "../../src/sinks/exec.ts";
import { acceptChain } from "../../src/sinks/iptables.ts";
import { endpointLinks, gatewayLinks } from "../../src/sinks/links.ts";
import { nftTable } from "../../src/sinks/nft-table.ts";
import { GOLDEN } from "../parser/recordings.ts";
import { ENDPOINTS, GATEWAY, NETWORKS } from "../parser/recorded-world.ts";
import { Namespace } from "./namespace.ts";

const signal = new AbortController().signal;

/** Builds the recorded world and tells what each tool printed, by file name. */
async function recordAll(host: Namespace): Promise<ReadonlyMap<string, string>> {
  const said = new Map<string, string>();
  const listening = (name: string, stream: "stdout" | "stderr" = "stdout"): Exec => async (command, abort) => {
    const output = await host.exec(command, abort);
    said.set(name, output[stream].replace(/^# .*\n/gm, ""));
    return output;
  };
  // A bridge on every kernel, also on one that has dummy links.
  await host.ip("link add name fnp-gw type bridge stp_state 0 forward_delay 0");
  const early = endpointLinks(listening("batch-errors.txt", "stderr"), host.sysctls);
  await early.apply(ENDPOINTS.map((endpoint) => ({ op: "create", key: "", why: "", endpoint: { ...endpoint, joined: true } })), signal).catch(() => undefined);
  await gatewayLinks(host.exec, host.sysctls).apply(GATEWAY.map((entry) => ({ op: "create", key: "", why: "", entry })), signal);
  await endpointLinks(host.exec, host.sysctls).apply(ENDPOINTS.map((endpoint) => ({ op: "create", key: "", why: "", endpoint })), signal);
  // What the kernel draws by lot is fixed, so that two recordings can be compared.
  await host.ip("link set fnp-gw address 0e:00:00:00:00:01", ...ENDPOINTS.map(({ peer }, n) => `link set ${peer} address 0e:00:00:00:01:0${n}`));
  await host.sysctls.write([["net/ipv6/conf/fnp-gw/disable_ipv6", "1"]]);
  await gatewayLinks(listening("gateways.json"), host.sysctls).observe(signal);
  await endpointLinks(listening("endpoints.json"), host.sysctls).observe(signal);
  await nftTable(listening("no-table.txt", "stderr")).observe(signal);
  await nftTable(host.exec).apply([{ op: "create", key: "table", why: "", table: { networks: NETWORKS } }], signal);
  await nftTable(listening("table.json")).observe(signal);
  await host.must("iptables-nft-restore", ["--noflush"], "*filter\n:DOCKER-USER - [0:0]\n-I FORWARD -j DOCKER-USER\nCOMMIT\n");
  await acceptChain(host.exec, () => Promise.resolve("")).apply([{ op: "create", key: "chain", why: "" }], signal);
  await acceptChain(listening("nft-save.txt"), () => Promise.resolve("")).observe(signal);
  await host.must("iptables-legacy-restore", ["--noflush"], "*filter\n:DOCKER-USER - [0:0]\n-I FORWARD -j DOCKER-USER\nCOMMIT\n");
  await acceptChain(listening("legacy-save.txt"), () => Promise.resolve("filter\n")).observe(signal);
  return said;
}

const TOOLS: readonly (readonly [tool: string, command: string, option: string, files: readonly string[]])[] = [
  ["iproute2", "ip", "-V", ["gateways.json", "endpoints.json", "batch-errors.txt"]],
  ["nftables", "nft", "-v", ["table.json", "no-table.txt"]],
  ["iptables", "iptables-nft", "-V", ["nft-save.txt", "legacy-save.txt"]],
];

test("the tools say what was recorded", async () => {
  const host = await Namespace.make();
  try {
    const said = await recordAll(host);
    for (const [tool, command, option, files] of TOOLS) {
      const version = /\d+\.\d+(\.\d+)?/.exec(await host.must(command, [option]))?.[0];
      const folder = join(GOLDEN, `${tool}-${version?.replace(/\.0$/, "") ?? "unknown"}`);
      if (process.env["RECORD"] !== undefined) {
        mkdirSync(folder, { recursive: true });
        for (const file of files) writeFileSync(join(folder, file), said.get(file) ?? "");
      }
      if (!existsSync(folder)) process.stdout.write(`golden: no recording in ${folder}; make one with RECORD=1\n`);
      else for (const file of files) expect([file, said.get(file)]).toEqual([file, readFileSync(join(folder, file), "utf8")]);
    }
  } finally {
    await host.close();
  }
}, 60_000);
