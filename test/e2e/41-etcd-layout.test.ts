/** Every key below the prefix: of a known kind, readable, with its owner's name in it (design §6). */
import { afterAll, beforeAll, describe, expect, it } from "@jest/globals";
import type { Lab } from "../../lab/lab.ts";
import { makeNetwork, must, openedLab, removeBox, removeNetwork, runBox, until, type Box } from "./bed.ts";

type Fields = Readonly<Record<string, unknown>>;
interface Entry { readonly key: string; readonly record: Fields; readonly lease: string }
interface Kind { readonly kind: string; readonly shape: RegExp; readonly fields: readonly string[]; readonly owner?: (match: readonly string[], record: Fields) => unknown; readonly leased?: boolean }

const text = (record: Fields): unknown => record["owner"];
const KINDS: readonly Kind[] = [
  { kind: "schema", shape: /^schema$/, fields: ["version"] },
  { kind: "pool", shape: /^pools\/(\d+(?:\.\d+){3}-\d+)$/, fields: ["cidr", "flannelId", "hostSubnetLength", "serviceRange", "claimedAtMs"] },
  { kind: "vni", shape: /^vnis\/(\d+)$/, fields: ["flannelId"] },
  { kind: "flannel config", shape: /^networks\/([^/]+)\/config$/, fields: ["Network", "SubnetLen", "SubnetMin", "SubnetMax", "Backend"], owner: () => "flannel" },
  { kind: "flannel lease", shape: /^networks\/([^/]+)\/subnets\/\d+(?:\.\d+){3}-\d+$/, fields: ["PublicIP"], owner: (_match, record) => record["PublicIP"], leased: true },
  { kind: "service address", shape: /^service-range\/([^/]+)\/\d+(?:\.\d+){3}$/, fields: ["address", "grantedAtMs"] },
  { kind: "network", shape: /^docker\/networks\/([^/]+)$/, fields: ["id", "name", "cidr", "options"] },
  { kind: "service", shape: /^docker\/services\/([^/]+)$/, fields: ["id", "name", "mode", "networks", "vips"] },
  { kind: "task", shape: /^docker\/tasks\/([^/]+)$/, fields: ["id", "slot", "state", "desiredState"] },
  { kind: "swarm node", shape: /^docker\/nodes\/([^/]+)$/, fields: ["id", "hostname", "state"] },
  { kind: "node", shape: /^nodes\/([^/]+)$/, fields: ["id", "hostname", "publicIp", "role"], owner: ([id]) => id, leased: true },
  { kind: "container", shape: /^nodes\/([^/]+)\/containers\/[^/]+$/, fields: ["id", "node", "name", "state", "networks"], owner: ([id]) => id, leased: true },
];

let lab: Lab;
let boxes: readonly Box[] = [];
let entries: readonly Entry[] = [];
const SERVICE = "layout-service";

async function all(): Promise<readonly Entry[]> {
  const { stdout } = await lab.etcd.ctl(["get", "--prefix", "/flannel", "-w", "json"]);
  // The lease is a 64 bit number: JSON.parse would round it.
  const exact = stdout.replace(/"lease":(\d+)/g, '"lease":"$1"');
  const { kvs = [] } = JSON.parse(exact) as { kvs?: readonly { key: string; value: string; lease?: string }[] };
  const plain = (base64: string): string => Buffer.from(base64, "base64").toString();
  return kvs.map(({ key, value, lease = "" }) => ({ key: plain(key), record: JSON.parse(plain(value)) as Fields, lease }));
}
const matchOf = ({ key }: Entry): readonly [Kind, readonly string[]] | undefined => {
  for (const kind of KINDS) {
    const match = kind.shape.exec(key.replace(/^\/flannel\//, ""));
    if (match !== null) return [kind, match.slice(1)];
  }
  return undefined;
};
const kindsOf = (list: readonly Entry[]): ReadonlySet<string> => new Set(list.map((entry) => matchOf(entry)?.[0].kind ?? `unknown: ${entry.key}`));

beforeAll(async () => {
  lab = await openedLab();
  const manager = lab.node("node1");
  await makeNetwork(manager, "layout");
  boxes = [await runBox(manager, "layout", "layout1"), await runBox(lab.node("node2"), "layout", "layout2")];
  await must(manager, ["docker", "service", "create", "-d", "--name", SERVICE, "--no-resolve-image", "--replicas", "2", "--network", "layout", "lab/box"]);
  entries = await until("all kinds of records in etcd", async () => {
    const list = await all();
    const kinds = kindsOf(list);
    return ["service", "task", "container", "flannel lease"].every((kind) => kinds.has(kind)) && list;
  });
});
afterAll(async () => {
  await lab.node("node1").exec(["docker", "service", "rm", SERVICE]);
  await Promise.all(boxes.map(removeBox));
  await removeNetwork(lab.node("node1"), "layout");
});

describe("the layout in etcd", () => {
  it("has version 1", () => {
    expect(entries.find(({ key }) => key === "/flannel/schema")?.record["version"]).toBe(1);
  });

  it("has keys of known kinds only, each with its fields and its owner", () => {
    const faults = entries.flatMap((entry): string[] => {
      const [kind, match] = matchOf(entry) ?? [];
      if (kind === undefined || match === undefined) return [`${entry.key}: no known kind`];
      const owner = kind.owner === undefined ? text(entry.record) : kind.owner(match, entry.record);
      const own = kind.owner === undefined || kind.kind.startsWith("flannel") ? owner : text(entry.record);
      return [
        ...kind.fields.filter((field) => entry.record[field] === undefined).map((field) => `${entry.key}: without ${field}`),
        ...(typeof own === "string" && own !== "" && own === owner ? [] : [`${entry.key}: its owner is ${String(own)}, not ${String(owner)}`]),
        ...(kind.leased === true && entry.lease === "" ? [`${entry.key}: without a lease`] : []),
      ];
    });
    expect(faults).toEqual([]);
    expect([...kindsOf(entries)].sort()).toEqual(expect.arrayContaining(["container", "flannel config", "flannel lease", "network", "node", "pool", "schema", "service", "task", "vni"]));
  });

  it("lets what a node says of itself go within 10 s of its silence", async () => {
    for (const { lease } of entries.filter(({ key }) => key.startsWith("/flannel/nodes/"))) {
      const { stdout } = await lab.etcd.ctl(["lease", "timetolive", BigInt(lease).toString(16)]);
      expect(Number(/granted with TTL\((\d+)s\)/.exec(stdout)?.[1])).toBeLessThanOrEqual(10);
    }
  });

  it("gives everything of a network back when it is gone", async () => {
    const flannelId = entries.find(({ record }) => record["cidr"] !== undefined && record["flannelId"] !== undefined)?.record["flannelId"];
    const network = await must(lab.node("node1"), ["docker", "network", "inspect", "-f", "{{.Id}}", "layout"]);
    const mine = [String(flannelId), network];
    await must(lab.node("node1"), ["docker", "service", "rm", SERVICE]);
    await Promise.all(boxes.map(removeBox));
    await removeNetwork(lab.node("node1"), "layout");
    await until("the network's keys to go", async () => (await all()).every(({ key, record }) => !mine.some((id) => key.includes(id) || JSON.stringify(record).includes(id))));
  });
});
