/** The environment is parsed in one place: every bad value is named with a cure, and the config is usable all the same. */
import { afterAll, describe, expect, it } from "@jest/globals";
import { execFileSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { parseConfig } from "../../src/config.ts";
import { SETTINGS } from "../../src/settings.ts";

type Environment = Readonly<Record<string, string>>;
const configOf = (env: Environment) => parseConfig(env).config;
const named = (env: Environment) => parseConfig(env).problems.map(({ variable }) => variable);
const NOWHERE = { endpoints: ["http://127.0.0.1:1"] };

const folder = mkdtempSync(join(tmpdir(), "fnp-config-"));
execFileSync("openssl", ["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-subj", "/CN=etcd", "-keyout", join(folder, "key"), "-out", join(folder, "cert")], { stdio: "ignore" });
const [cert = "", key = ""] = ["cert", "key"].map((name) => readFileSync(join(folder, name), "utf8"));
afterAll(() => rmSync(folder, { recursive: true }));

describe("an empty environment", () => {
  it("has the predecessor's defaults and no problem", () => {
    expect(parseConfig({})).toEqual({ problems: [], config: {
      etcd: { endpoints: ["http://127.0.0.1:2379"] }, etcdPrefix: "/flannel", flannelFlags: [], available: "any", networkLength: 20, hostLength: 25,
      vniStart: 6514, serviceAddresses: 0, hook: "auto", dnsCompatible: true, dnsTtlSeconds: 5, dnsTexts: true, dnsCache: true, balancer: "auto", drainMs: 600_000, marks: { first: 0xf0_0000, last: 0xf0_ffff }, debugListen: "", logLevel: "info", eventLogBytes: 64 * 2 ** 20,
    } });
  });

  it("is the same as one of empty values: docker plugin set cannot unset", () => {
    expect(parseConfig(Object.fromEntries(SETTINGS.map(({ name }) => [name, " "])))).toEqual(parseConfig({}));
  });

  it("is the same as one of the defaults written out, and every example is a good value", () => {
    expect(parseConfig(Object.fromEntries(SETTINGS.map(({ name, default: value }) => [name, value])))).toEqual(parseConfig({}));
    for (const { name, example } of SETTINGS.filter((setting) => !/^ETCD_(USER|PASSWORD|CA|CERT|KEY)$/.test(setting.name))) {
      const problems = named({ [name]: example });
      expect({ name, problems }).toEqual({ name, problems: [] });
    }
  });
});

it.each<[Environment, object]>([
  [{ ETCD_ENDPOINTS: "a:2379, https://b:1" }, { etcd: NOWHERE }],
  [{ ETCD_ENDPOINTS: " 172.16.0.2:2379 ,http://etcd.example:80," }, { etcd: { endpoints: ["http://172.16.0.2:2379", "http://etcd.example:80"] } }],
  [{ ETCD_ENDPOINTS: "https://b:1", ETCD_CA: cert, ETCD_CERT: cert, ETCD_KEY: key }, { etcd: { endpoints: ["https://b:1"], ca: cert.trim(), cert: cert.trim(), key: key.trim() } }],
  [{ ETCD_ENDPOINTS: "https://b:1", ETCD_CA: cert.replaceAll("\n", "\\n") }, { etcd: { endpoints: ["https://b:1"], ca: cert } }],
  [{ ETCD_USER: "u", ETCD_PASSWORD: "p" }, { etcd: { endpoints: ["http://127.0.0.1:2379"], user: "u", password: "p" } }],
  [{ AVAILABLE_SUBNETS: "10.1.0.0/16, 10.10.7.9/16" }, { available: ["10.1.0.0/16", "10.10.0.0/16"] }],
  [{ IS_HOOK_AVAILABLE: "TRUE", DNS_DOCKER_COMPATIBILITY_MODE: "False", LOG_LEVEL: "Debug" }, { hook: "true", dnsCompatible: false, logLevel: "debug" }],
  [{ DEFAULT_FLANNEL_OPTIONS: "--iface=eth1" }, { flannelFlags: [{ name: "iface", value: "eth1" }] }],
  [{ EVENT_LOG_MAX_MB: "1" }, { eventLogBytes: 2 ** 20 }],
])("%j", (env, expected) => expect(configOf(env)).toMatchObject(expected));

describe("a bad value", () => {
  it.each<[Environment, readonly string[]]>([
    [{ ETCD_ENDPOINTS: "nonsense" }, ["ETCD_ENDPOINTS"]], [{ ETCD_ENDPOINTS: "a:0" }, ["ETCD_ENDPOINTS"]], [{ ETCD_ENDPOINTS: "a:65536" }, ["ETCD_ENDPOINTS"]],
    [{ ETCD_ENDPOINTS: "," }, ["ETCD_ENDPOINTS"]], [{ ETCD_ENDPOINTS: "https://a:1,http://b:1" }, ["ETCD_ENDPOINTS"]], [{ ETCD_PREFIX: "/" }, ["ETCD_PREFIX"]], [{ ETCD_PREFIX: "/a b" }, ["ETCD_PREFIX"]],
    [{ ETCD_USER: "u" }, ["ETCD_USER"]], [{ ETCD_PASSWORD: "p" }, ["ETCD_USER"]],
    [{ ETCD_ENDPOINTS: "https://a:1", ETCD_CERT: cert }, ["ETCD_CERT"]], [{ ETCD_ENDPOINTS: "https://a:1", ETCD_KEY: key }, ["ETCD_CERT"]],
    [{ ETCD_ENDPOINTS: "https://a:1", ETCD_CA: "x", ETCD_CERT: "y", ETCD_KEY: "z" }, ["ETCD_CA", "ETCD_CERT", "ETCD_KEY"]], [{ ETCD_CA: cert }, ["ETCD_ENDPOINTS"]],
    [{ ETCD_CA_FILE: "/etc/ca.pem" }, ["ETCD_CA_FILE"]], [{ ETCD_PASSWORD_FILE: "/run/absent/secret" }, ["ETCD_PASSWORD_FILE"]],
    [{ NETWORK_SUBNET_SIZE: "/20" }, ["NETWORK_SUBNET_SIZE"]], [{ NETWORK_SUBNET_SIZE: "0x10" }, ["NETWORK_SUBNET_SIZE"]], [{ DEFAULT_HOST_SUBNET_SIZE: "2e1" }, ["DEFAULT_HOST_SUBNET_SIZE"]],
    [{ VNI_START: "0" }, ["VNI_START"]], [{ VNI_START: "10000000" }, ["VNI_START"]], [{ SERVICE_RANGE_SIZE: "-1" }, ["SERVICE_RANGE_SIZE"]], [{ EVENT_LOG_MAX_MB: "0" }, ["EVENT_LOG_MAX_MB"]],
    [{ IS_HOOK_AVAILABLE: "yes" }, ["IS_HOOK_AVAILABLE"]], [{ LOG_LEVEL: "trace" }, ["LOG_LEVEL"]], [{ DNS_DOCKER_COMPATIBILITY_MODE: "1" }, ["DNS_DOCKER_COMPATIBILITY_MODE"]],
    [{ DEFAULT_FLANNEL_OPTIONS: "-etcd-prefix=/x -nonsense=1" }, ["DEFAULT_FLANNEL_OPTIONS", "DEFAULT_FLANNEL_OPTIONS"]],
    [{ AVAILABLE_SUBNETS: "10.1.0.0/16,10.1.2.0/24" }, ["AVAILABLE_SUBNETS"]], [{ AVAILABLE_SUBNETS: "fd00::/8" }, ["AVAILABLE_SUBNETS"]], [{ AVAILABLE_SUBNETS: "10.1.0.0/24" }, ["AVAILABLE_SUBNETS"]],
    [{ NETWORK_SUBNET_SIZE: "24" }, ["DEFAULT_HOST_SUBNET_SIZE"]],
  ])("%j is named", (env, expected) => expect(named(env)).toEqual(expected));

  it("says what is wrong, shows the arithmetic, and how to set it right", () => {
    expect(parseConfig({ NETWORK_SUBNET_SIZE: "24" }).problems).toEqual([{
      variable: "DEFAULT_HOST_SUBNET_SIZE", reason: "a /24 network holds 2 node subnets of /25; at least 4 are needed (host subnet ≥ network + 2 bits); NETWORK_SUBNET_SIZE is 24",
      cure: "Set it like DEFAULT_HOST_SUBNET_SIZE=29 (docker plugin disable, set, enable)",
    }]);
    expect(parseConfig({ ETCD_CA_FILE: "/etc/ca.pem" }).problems).toMatchObject([{ cure: expect.stringContaining("ETCD_CA_FILE=/run/") }]);
  });

  it("keeps its default, so that the rest works", () => {
    expect(configOf({ VNI_START: "x", LOG_LEVEL: "x", ETCD_PREFIX: "", NETWORK_SUBNET_SIZE: "99" })).toMatchObject({ vniStart: 6514, logLevel: "info", etcdPrefix: "/flannel", networkLength: 20 });
  });

  it("of etcd means no etcd: a wrong one would say that every network is gone", () => {
    for (const env of [{ ETCD_PREFIX: "/" }, { ETCD_ENDPOINTS: "good:2379,bad" }, { ETCD_USER: "u" }] as const) expect(configOf(env as unknown as Environment).etcd).toEqual(NOWHERE);
  });

  it("never shows a secret", () => {
    const secret = "s3cret-value";
    const env = { ETCD_ENDPOINTS: `http://root:${secret}@a:1`, ETCD_PASSWORD: secret, ETCD_KEY: secret, ETCD_CA: secret, ETCD_CERT: secret };
    expect(parseConfig(env).problems.length).toBeGreaterThan(3);
    expect(JSON.stringify(parseConfig(env))).not.toContain(secret);
  });

  it("never throws, whatever it is", () => {
    const settings = fc.record(Object.fromEntries(SETTINGS.map(({ name }) => [name, fc.oneof(fc.string(), fc.constantFrom("10.0.0.0/8", "https://a:1", "-1", "24", "-iface", "'"))])), { requiredKeys: [] });
    fc.assert(fc.property(settings, (env) => {
      const { config, problems } = parseConfig(env as Environment);
      expect(config.etcd.endpoints.length).toBeGreaterThan(0);
      for (const problem of problems) expect(problem).toEqual({ variable: expect.any(String), reason: expect.stringMatching(/./), cure: expect.stringMatching(/^Set it like /) });
    }), { numRuns: 300 });
  });
});
