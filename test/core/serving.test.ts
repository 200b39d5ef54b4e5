/** Who serves: by what the container is and what swarm wants of its task (design D10). */
import { describe, expect, it } from "@jest/globals";
import type { ContainerId, EndpointId, ServiceId, TaskId } from "../../src/core/ids.ts";
import type { Container, Task } from "../../src/core/model.ts";
import { backendsOf, servingOf } from "../../src/core/serving.ts";
import { addressOf, container, networkId, OTHER, snapshotOf, task } from "../plan/builders.ts";

const WEB = "svc-1" as ServiceId;
const at = (host: number, n = 1, node = 1) => ({ [networkId(n)]: { endpoint: `ep-${n}-${host}` as EndpointId, address: addressOf(n, host, node), aliases: [] } });
const serves = (host: number, more: Partial<Container> = {}): Container =>
  container(host, { service: WEB, task: `task-${host}` as TaskId, networks: at(host), ...more });
const stateOf = (box: Partial<Container>, wanted?: Partial<Task>): string | undefined => {
  const tasks = wanted === undefined ? [] : [task(2, wanted)];
  return backendsOf(servingOf(snapshotOf({ containers: { items: [serves(2, box)] }, tasks: { items: tasks } })), WEB, networkId(1))[0]?.state;
};

describe("serving", () => {
  it.each<[string, Partial<Container>, Partial<Task> | undefined, string | undefined]>([
    ["running, no health check", {}, {}, "ready"],
    ["running, healthy", { health: "healthy" }, {}, "ready"],
    ["running, its check has not spoken", { health: "starting" }, {}, undefined],
    ["unhealthy", { health: "unhealthy" }, {}, "draining"],
    ["told to stop", { state: "stopping" }, {}, "draining"],
    ["told to stop before it was healthy", { state: "stopping", health: "starting" }, {}, undefined],
    ["gone", { state: "exited" }, {}, undefined],
    ["its task shall shut down", {}, { desiredState: "shutdown" }, "draining"],
    ["its task shall be removed", {}, { desiredState: "remove" }, "draining"],
    ["a job's task, meant to complete", {}, { desiredState: "complete" }, "ready"],
    ["its task is not listed yet", {}, undefined, "ready"],
    ["of another node", { node: OTHER }, {}, "ready"],
  ])("%s", (_name, box, wanted, expected) => expect(stateOf(box, wanted)).toBe(expected));

  it("keeps services and networks apart, in order of the addresses", () => {
    const both = { ...at(10), ...at(10, 2) };
    const snapshot = snapshotOf({ containers: { items: [
      serves(10, { networks: both }), serves(9), serves(100, { node: OTHER, networks: at(100, 1, 2) }),
      container(7, { networks: at(7) }), container(8, { service: "svc-2" as ServiceId, networks: at(8) }),
    ] } });
    const serving = servingOf(snapshot);
    expect(backendsOf(serving, WEB, networkId(1)).map(({ address }) => address)).toEqual([addressOf(1, 9), addressOf(1, 10), addressOf(1, 100, 2)]);
    expect(backendsOf(serving, WEB, networkId(2))).toEqual([expect.objectContaining({ container: "box-10" as ContainerId, task: "task-10", address: addressOf(2, 10) })]);
    expect(backendsOf(serving, "svc-2" as ServiceId, networkId(1)).map(({ container: id }) => id)).toEqual(["box-8"]);
    expect(backendsOf(serving, "svc-3" as ServiceId, networkId(1))).toEqual([]);
  });

  it("counts a snapshot once", () => {
    const snapshot = snapshotOf({ containers: { items: [serves(2)] } });
    expect(servingOf(snapshot)).toBe(servingOf(snapshot));
  });
});
