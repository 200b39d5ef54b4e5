/** When a manager reads its tasks although no event told it to. */
import { describe, expect, it } from "@jest/globals";
import type { DockerEvent } from "../../src/sources/docker-api.ts";
import { TaskTempo } from "../../src/sources/task-tempo.ts";

const event = (action: string, attributes: Record<string, string> = {}): DockerEvent => ({ scope: "swarm", type: "service", action, id: "web", attributes });

describe("the tempo of reading tasks", () => {
  it("is none in a swarm at rest", () => {
    const tempo = new TaskTempo();
    expect(tempo.wants(0)).toBe(false);
    tempo.read(false, 0, 1);
    expect(tempo.wants(60_000)).toBe(false);
  });

  it("is quick for ten seconds after a service event, and after each list that was another one", () => {
    const tempo = new TaskTempo();
    tempo.service(event("update"), 1_000);
    expect([tempo.wants(1_250), tempo.wants(10_999), tempo.wants(11_000)]).toEqual([true, true, false]);
    tempo.read(true, 10_500, 10_501);
    expect([tempo.wants(11_000), tempo.wants(20_500), tempo.wants(20_501)]).toEqual([true, true, false]);
  });

  it.each(["completed", "paused", "rollback_completed", "rollback_paused"])("stays quick through an update with long pauses, until it is %s", (end) => {
    const tempo = new TaskTempo();
    tempo.service(event("update", { "updatestate.new": "updating" }), 0);
    expect(tempo.wants(3_600_000)).toBe(true);
    tempo.service(event("update", { "updatestate.new": end, "updatestate.old": "updating" }), 3_600_000);
    expect([tempo.wants(3_600_250), tempo.wants(3_611_000)]).toEqual([true, false]);
  });

  it("knows of no update any more when its service goes", () => {
    const tempo = new TaskTempo();
    tempo.service(event("update", { "updatestate.new": "rollback_started" }), 0);
    tempo.service(event("remove"), 1);
    expect(tempo.wants(20_000)).toBe(false);
  });

  it("spends a twentieth of the time reading at most", () => {
    const tempo = new TaskTempo();
    tempo.service(event("update", { "updatestate.new": "updating" }), 0);
    tempo.read(false, 1_000, 1_100);
    expect([tempo.wants(3_099), tempo.wants(3_100)]).toEqual([false, true]);
  });
});
