/**
 * Keeps true: names, addresses and keys of a lab follow from its id alone, and wrong words are refused with a cure.
 * In: lab/plan.ts. Out: –. Rule: no process, no file.
 */
import { describe, expect, test } from "@jest/globals";
import { LabError } from "../../lab/errors.ts";
import {
  ENGINES, engineNamed, enginesPerNode, freeAddress, hostName, isEngine, labId, macOf, namespaceName, nodeCount, packageVersion, portName, recipeHash,
} from "../../lab/plan.ts";

const cureOf = (work: () => unknown): string => {
  try {
    work();
  } catch (error) {
    if (error instanceof LabError) return error.cure;
  }
  throw new Error("no LabError");
};

describe("engines", () => {
  test("the last of a list repeats", () => {
    expect(enginesPerNode("28,20.10", 4).map((engine) => engine.name)).toEqual(["28", "20.10", "20.10", "20.10"]);
  });
  test("more engines than nodes, and unknown ones, are refused with a cure", () => {
    expect(cureOf(() => enginesPerNode("28,26,20.10", 2))).toContain("--nodes 3");
    expect(() => engineNamed("27")).toThrow("20.10, 26, 28");
    expect(cureOf(() => enginesPerNode("28,", 2))).toContain("--engine");
  });
  test("a suite whose engine moved on does not pass for the old one", () => {
    expect(isEngine("28.5.2+dfsg4-5", "28")).toBe(true);
    expect(isEngine("280.1", "28")).toBe(false);
    expect(isEngine("20.10.24+dfsg1-1+b3", "20.10")).toBe(true);
    expect(isEngine("29.1.0-1", "28")).toBe(false);
    expect(packageVersion("docker-cli 28.1\ndocker.io 28.5.2-1\n", "docker.io")).toBe("28.5.2-1");
  });
});

describe("names", () => {
  test("links fit in 15 bytes, whatever name is allowed", () => {
    expect(portName(hostName("a234567890123")).length).toBeLessThanOrEqual(15);
    expect(() => hostName("a2345678901234")).toThrow("1 to 13");
  });
  test.each(["", "Node1", "1node", "no de", "switch", "etcd", "outside", "../x"])("host name %j is refused", (name) => {
    expect(() => hostName(name)).toThrow(LabError);
  });
  test.each(["", "a-b", "Demo", "1a", "a/b", "..", "abcdefghijklm"])("lab id %j is refused", (id) => {
    expect(() => labId(id)).toThrow(LabError);
  });
  test("no lab's namespaces begin with those of another", () => {
    expect(namespaceName(labId("demo2"), "node1").startsWith(namespaceName(labId("demo"), ""))).toBe(false);
  });
  test.each(["0", "-1", "1.5", "many", "41", ""])("%j nodes are refused", (count) => {
    expect(() => nodeCount(count)).toThrow(LabError);
  });
});

describe("addresses", () => {
  test("nodes from .11, bare hosts from .151, gaps are filled", () => {
    expect(freeAddress("node", [])).toBe("10.99.0.11");
    expect(freeAddress("node", ["10.99.0.11", "10.99.0.13"])).toBe("10.99.0.12");
    expect(freeAddress("host", [])).toBe("10.99.0.151");
  });
  test("a full LAN is said", () => {
    expect(() => freeAddress("host", Array.from({ length: 99 }, (_, n) => `10.99.0.${151 + n}`))).toThrow("taken");
  });
  test("a node's MAC is local, unicast and its own", () => {
    expect(macOf("10.99.0.11")).toBe("02:4c:0a:63:00:0b");
  });
});

test("recipe hashes tell borders apart and cover every part", () => {
  expect(recipeHash(["a", "bc"])).not.toBe(recipeHash(["ab", "c"]));
  expect(recipeHash(["a", "bc"])).toBe(recipeHash(["a", "bc"]));
  expect(recipeHash(["a"])).toMatch(/^[0-9a-f]{12}$/);
  expect(new Set(ENGINES.map((engine) => engine.suite)).size).toBe(ENGINES.length);
});
