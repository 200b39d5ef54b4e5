/**
 * What a user may say about one network: `--ipam-opt` at its pool, `--opt` at its making.
 *
 * In:  option maps as Docker sends them.  Out: typed overrides, or an OperatorError that names the option, the value and an example.
 * Rule: options of Docker's own (`com.docker.…`) pass; an unknown one is refused by name, so a typing error is never silent.
 */
import { OperatorError } from "./errors.ts";
import { parseFlannelId, type FlannelId, type Vni } from "./ids.ts";
import type { Backend } from "./model.ts";

export interface PoolOptions {
  readonly flannelId?: FlannelId;
  readonly hostLength?: number;
  readonly serviceAddresses?: number;
  /** True when swarm repeats a request it made before (protocol §3.3). */
  readonly replay: boolean;
}

export interface NetworkOptions { readonly vni?: Vni; readonly backend: Backend; readonly dnsTtlSeconds?: number }

/** A day; longer would only keep wrong answers alive. */
export const DNS_TTL_MAX = 86_400;
const SERIAL = "com.docker.network.ipam.serial";
const REQUEST_TYPE = "RequestAddressType";
const DOCKER_MTU = "com.docker.network.driver.mtu";
const BACKENDS = ["vxlan", "host-gw"] as const;

export function parsePoolOptions(options: Readonly<Record<string, string>>): PoolOptions {
  let parsed: PoolOptions = { replay: options[SERIAL] === "true" };
  for (const [name, value] of Object.entries(options)) {
    if (name === "flannel-id") {
      const flannelId = parseFlannelId(value);
      if (flannelId === undefined) throw refuse(name, value, "letters, digits, \".\", \"_\" and \"-\", at most 128", "flannel-id=$(uuidgen)");
      parsed = { ...parsed, flannelId };
    } else if (name === "host-subnet-size") parsed = { ...parsed, hostLength: whole(name, value, 10, 30, "25") };
    else if (name === "service-range-size") parsed = { ...parsed, serviceAddresses: whole(name, value, 4, 2 ** 20, "2048") };
    else if (name !== REQUEST_TYPE && !name.startsWith("com.docker.")) {
      throw refuse(name, value, "flannel-id, host-subnet-size or service-range-size", "host-subnet-size=25", "--ipam-opt");
    }
  }
  return parsed;
}

export function parseNetworkOptions(options: Readonly<Record<string, string>>): NetworkOptions {
  let vni: Vni | undefined;
  let dnsTtlSeconds: number | undefined;
  const backend: Record<string, unknown> = { Type: "vxlan" };
  for (const [name, value] of Object.entries(options)) {
    if (name === "vni") vni = whole(name, value, 1, 9_999_999, "10001") as Vni;
    else if (name === "dns-ttl") dnsTtlSeconds = whole(name, value, 0, DNS_TTL_MAX, "5");
    else if (name === "backend") backend["Type"] = oneOf(name, value, BACKENDS);
    else if (name === DOCKER_MTU || name === "mtu") backend["MTU"] = whole(name, value, 576, 65_535, "1450") + 50;
    else if (name === "port") backend["Port"] = whole(name, value, 1, 65_535, "8472");
    else if (name === "direct-routing") backend["DirectRouting"] = oneOf(name, value, ["true", "false"]) === "true";
    else if (name === "gbp") backend["GBP"] = oneOf(name, value, ["true", "false"]) === "true";
    else if (!name.startsWith("com.docker.")) throw refuse(name, value, "vni, backend, mtu, port, direct-routing, gbp or dns-ttl", "mtu=1400", "--opt");
  }
  if (backend["Type"] !== "vxlan" && typeof backend["MTU"] === "number") delete backend["MTU"];
  return { backend: backend as unknown as Backend, ...(vni === undefined ? {} : { vni }), ...(dnsTtlSeconds === undefined ? {} : { dnsTtlSeconds }) };
}

function whole(name: string, value: string, least: number, most: number, example: string): number {
  const number = Number(value);
  if (!/^\d+$/.test(value) || number < least || number > most) throw refuse(name, value, `a whole number from ${least} to ${most}`, `${name}=${example}`);
  return number;
}

function oneOf<T extends string>(name: string, value: string, allowed: readonly T[]): T {
  const found = allowed.find((option) => option === value);
  if (found === undefined) throw refuse(name, value, allowed.join(" or "), `${name}=${allowed[0] ?? ""}`);
  return found;
}

function refuse(name: string, value: string, expected: string, example: string, unknown?: string): OperatorError {
  const what = unknown === undefined ? `option ${name}=${value}` : `${unknown} ${name}: there is no such option`;
  return new OperatorError("invalid", `Cannot use ${what}; expected ${expected}`, { cure: `For example ${example}` });
}
