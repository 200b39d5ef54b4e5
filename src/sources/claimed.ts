/** The two records that claims read while they choose: a pool and a lease; undefined where a text is neither. */
import type { Pool, SubnetLease } from "../core/model.ts";
import type { Keys } from "../core/names.ts";
import { placeOf, readRecord } from "./etcd-records.ts";

export function readPool(keys: Keys, key: string, text: string): Pool | undefined {
  const place = placeOf(keys, key);
  const found = place === undefined ? undefined : readRecord(place, text);
  return found !== undefined && "kind" in found && found.kind === "pools" ? found.value : undefined;
}

export function readLease(keys: Keys, key: string, text: string): SubnetLease | undefined {
  const place = placeOf(keys, key);
  const found = place === undefined ? undefined : readRecord(place, text);
  return found !== undefined && "kind" in found && found.kind === "subnets" ? found.value : undefined;
}
