/**
 * What is there of all our flannelds: processes, devices, subnet files, peers' rows.
 *
 * Rule: an entry exists as soon as anything of ours does; a directory that cannot be read rejects, only a missing one is empty.
 */
import { readdir, readFile } from "node:fs/promises";
import { OperatorError } from "../../core/errors.ts";
import { baseOf, parseFlannelId, type FlannelId } from "../../core/ids.ts";
import { vxlanLink } from "../../core/names.ts";
import type { Child } from "./child.ts";
import type { Fleet } from "./fleet.ts";
import { directPeers, peersOn, type KernelRows, type SeenDevice } from "./kernel-rows.ts";
import type { Rows } from "./rows.ts";
import { parseSubnetFile } from "./subnet-file.ts";
import type { FlanneldSpec, FlanneldTable, ObservedFlanneld, SubnetFile } from "./vocabulary.ts";

export async function observeAll(fleet: Fleet, rows: Rows, directory: string, signal: AbortSignal): Promise<FlanneldTable> {
  const [kernel, files, strays] = await Promise.all([rows.look(signal), readSubnetFiles(directory), fleet.strays()]);
  const owners = kernel.devices.flatMap(({ owner }) => (owner === undefined ? [] : [owner]));
  const ids = new Set([...fleet.children.keys(), ...owners, ...files.keys(), ...strays.keys()]);
  const table = new Map<FlannelId, ObservedFlanneld>();
  for (const id of [...ids].sort()) {
    const child = fleet.child(id);
    const device = deviceOf(id, kernel.devices, child?.spec, files.get(id));
    const entry = entryOf({ child, device, file: files.get(id) }, kernel);
    if (child?.running !== undefined || device !== undefined || files.has(id) || strays.has(id)) table.set(id, entry);
  }
  return table;
}

/** Networks of which a process or a device is left here, for whoever needs no rows. */
export async function carriedHere(fleet: Fleet, rows: Rows, directory: string, signal: AbortSignal): Promise<ReadonlySet<FlannelId>> {
  const [devices, files] = await Promise.all([rows.devices(signal), readSubnetFiles(directory)]);
  const owners = devices.flatMap(({ owner }) => (owner === undefined ? [] : [owner]));
  return new Set([...fleet.children.keys(), ...owners, ...files.keys()].filter((id) => {
    const child = fleet.child(id);
    return child?.running !== undefined || deviceOf(id, devices, child?.spec, files.get(id)) !== undefined;
  }));
}

/**
 * A network's device bears its name in the alias. One without, that works with our spec or holds the address of the subnet
 * file, is flanneld's: somebody deleted ours, and it made another.
 */
export function deviceOf(
  id: FlannelId, devices: readonly SeenDevice[], spec: FlanneldSpec | undefined, file: SubnetFile | "unreadable" | undefined,
): SeenDevice | undefined {
  const address = file === undefined || file === "unreadable" ? undefined : `${baseOf(file.subnet)}/32`;
  return devices.find(({ owner }) => owner === id) ?? devices.find(({ owner, name, device }) => owner === undefined && (
    (spec?.backendType === "vxlan" && vxlanLink(spec.vni) === name) ||
    (address !== undefined && device.addresses.includes(address) && vxlanLink(device.vni) === name)));
}

interface Parts { readonly child: Child | undefined; readonly device: SeenDevice | undefined; readonly file: SubnetFile | "unreadable" | undefined }

function entryOf({ child, device, file }: Parts, kernel: KernelRows): ObservedFlanneld {
  const running = child?.running;
  const subnetFile = file === "unreadable" ? undefined : file;
  const network = running?.spec.network ?? subnetFile?.network;
  const tunnelled = device === undefined ? { peers: [], remains: [] } : peersOn(device.name, kernel);
  const direct = network === undefined ? [] : directPeers(network, kernel).map(({ peer }) => peer);
  return {
    ...(running === undefined ? {} : { running }),
    ...(device === undefined ? {} : { device: device.device }),
    ...(subnetFile === undefined ? {} : { subnetFile }),
    peers: [...tunnelled.peers, ...direct], remains: tunnelled.remains,
  };
}

export async function readSubnetFiles(directory: string): Promise<Map<FlannelId, SubnetFile | "unreadable">> {
  const files = new Map<FlannelId, SubnetFile | "unreadable">();
  for (const name of await namesIn(directory)) {
    const id = name.endsWith(".env") ? parseFlannelId(name.slice(0, -".env".length)) : undefined;
    if (id === undefined) continue;
    const text = await readFile(`${directory}/${name}`, "utf8").catch(() => "");
    files.set(id, parseSubnetFile(text) ?? "unreadable");
  }
  return files;
}

async function namesIn(directory: string): Promise<string[]> {
  try {
    return await readdir(directory);
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code === "ENOENT") return [];
    throw new OperatorError("unavailable", `Cannot list subnet files in ${directory}: ${(cause as Error).message}`, { cause });
  }
}
