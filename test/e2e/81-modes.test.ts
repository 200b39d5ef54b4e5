/**
 * The ambiguous names, case by case, in both modes at once: node1 answers as Docker does, node2 is set to `complete`.
 *
 * Must hold: compatible: the first network with a match wins; complete: all networks together; in both, a longer variation of a
 * name with dots ends the search.
 */
import type { ChildProcess } from "node:child_process";
import { afterAll, beforeAll, describe, expect, it } from "@jest/globals";
import type { Lab } from "../../lab/lab.ts";
import { addressOf, makeNetwork, must, openedLab, removeBox, removeNetwork, runBox, type Box } from "./bed.ts";
import { addresses, dropServices, noerror, nodesOf, runService, serveNames, tasksOf, untilAnswers, vipOf } from "./names-bed.ts";
import { reconfigure } from "./refusal-bed.ts";

const NETWORKS = ["internal", "web"] as const;
type Network = (typeof NETWORKS)[number];
const SERVICES = ["my-name", "my-alias"] as const;
const SETTING = "DNS_DOCKER_COMPATIBILITY_MODE";

let lab: Lab;
let server: ChildProcess;
let askers: readonly [compatible: Box, complete: Box];
let container: Box;

beforeAll(async () => {
  lab = await openedLab();
  const [one, two] = nodesOf(lab);
  await reconfigure(two, { [SETTING]: "false" });
  server = await serveNames(lab, lab.outside);
  for (const network of NETWORKS) await makeNetwork(one, network);
  const inBoth = async (node: typeof one, name: string, ...options: readonly string[]): Promise<Box> => {
    const box = await runBox(node, "internal", name, ...options.flatMap((alias) => ["--network-alias", alias]), "--dns", lab.outside.address);
    await must(node, ["docker", "network", "connect", ...options.flatMap((alias) => ["--alias", alias]), "web", name]);
    return box;
  };
  askers = [await inBoth(one, "asker1"), await inBoth(two, "asker2")];
  container = await inBoth(one, "my-name", "my-alias");
  await Promise.all(SERVICES.map((name) => runService(lab, name, 2, "--network", "internal", "--network", "web", ...(name === "my-alias" ? ["--endpoint-mode", "dnsrr"] : []))));
});

afterAll(async () => {
  server?.kill("SIGKILL");
  await dropServices(lab, ...SERVICES);
  await Promise.all([...askers ?? [], container].filter((box) => box !== undefined).map(removeBox));
  for (const network of NETWORKS) await removeNetwork(lab.node("node1"), network);
  await reconfigure(lab.node("node2"), { [SETTING]: "true" });
});

const own = (network: Network): Promise<string> => addressOf(container.node, container.name, network);
const vip = (network: Network): Promise<string> => vipOf(lab, "my-name", network);
const pair = async (network: Network): Promise<readonly string[]> => [await own(network), await vip(network)];
const ring = async (network: Network): Promise<readonly string[]> => [await own(network), ...addresses(await tasksOf(lab, "my-alias", network))];

/** The same question on both nodes, each answered in its mode. */
async function asked(question: string, compatible: readonly string[], complete: readonly string[]): Promise<void> {
  await untilAnswers([askers[0]], { [question]: noerror(...compatible) });
  await untilAnswers([askers[1]], { [question]: noerror(...complete) });
}

describe("a container and a service of one name, both in both networks", () => {
  it("case 1: the name: the pair of the first network; of all", async () => {
    await asked("my-name", await pair("internal"), [...await pair("internal"), ...await pair("web")]);
  });

  it.each([["2", "internal"], ["3", "web"]] as const)("case %s: with the network %s: that pair alone, in both modes", async (_case, network) => {
    await asked(`my-name.${network}`, await pair(network), await pair(network));
    const text = await must(askers[0].node, ["docker", "exec", askers[0].name, "dig", "+noall", "+answer", `my-name.${network}`]);
    expect(new Set(text.split("\n").map((line) => line.split(/\s/)[0]))).toEqual(new Set([`my-name.${network}.`]));
  });

  it("case 4: an alias that is a DNSRR service too: the container and all tasks", async () => {
    await asked("my-alias", await ring("internal"), [...await ring("internal"), ...await ring("web")]);
  });
});

describe("the container in the later network alone", () => {
  it("case 5: hidden by the service in the first network; not when all count", async () => {
    await must(container.node, ["docker", "network", "disconnect", "internal", container.name]);
    await asked("my-name", [await vip("internal")], [await vip("internal"), ...await pair("web")]);
  });

  it("case 6: a name with a dot beats the same name of a network, in both modes", async () => {
    await must(container.node, ["docker", "rename", container.name, "my-name.internal"]);
    container = { ...container, name: "my-name.internal" };
    await asked("my-name.internal", [await own("web")], [await own("web")]);
    await asked("my-name.web", [await vip("web")], [await vip("web")]);
  });
});

describe("never", () => {
  it("an address of a network that the asker is not in", async () => {
    for (const asker of askers) await must(asker.node, ["docker", "network", "disconnect", "web", asker.name]);
    await asked("my-name", [await vip("internal")], [await vip("internal")]);
    await untilAnswers(askers, { "my-name.web": "NXDOMAIN" });
    await untilAnswers(askers, { "tasks.my-name": noerror(...addresses(await tasksOf(lab, "my-name", "internal"))) });
  });
});
