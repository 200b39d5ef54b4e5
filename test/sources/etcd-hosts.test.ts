/** A host that failed rests; a call that begins anew from within waits for nobody. */
import { expect, it } from "@jest/globals";
import { GRPCUnavailableError } from "etcd3";
import { hostPolicy } from "../../src/sources/etcd-hosts.ts";

const down = (): never => { throw new GRPCUnavailableError("14 UNAVAILABLE"); };

it("is left alone for a second after a failure that another host may not have", async () => {
  let nowMs = 0;
  const policy = hostPolicy(2, () => nowMs);
  await expect(policy.execute(down)).rejects.toThrow("UNAVAILABLE");
  await expect(policy.execute(() => 1)).rejects.toMatchObject({ isBrokenCircuitError: true });
  nowMs = 1_001;
  expect(await policy.execute(() => 1)).toBe(1);
});

it("is not blamed for what its answer says, nor left alone when it is the only one", async () => {
  const [policy, only] = [hostPolicy(2), hostPolicy(1)];
  await expect(policy.execute(() => { throw new Error("etcdserver: permission denied"); })).rejects.toThrow("denied");
  expect(await policy.execute(() => 1)).toBe(1);
  await expect(only.execute(down)).rejects.toThrow("UNAVAILABLE");
  expect(await only.execute(() => 1)).toBe(1);
});

it("a call within the first call after a rest ends, as etcd3 makes one when a token is refused", async () => {
  let nowMs = 0;
  const policy = hostPolicy(3, () => nowMs);
  await expect(policy.execute(down)).rejects.toThrow();
  nowMs = 2_000;
  expect(await policy.execute(() => policy.execute(() => "inner"))).toBe("inner");
});
