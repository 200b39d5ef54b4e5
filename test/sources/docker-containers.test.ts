/** This node's containers and their endpoints, as the source over a fake engine tells them. */
import { afterEach, beforeEach, describe, expect, test } from "@jest/globals";
import { OperatorError } from "../../src/core/errors.ts";
import { Bed, container, network, pass } from "./docker-bed.ts";

let bed: Bed;
beforeEach(() => { bed = new Bed(); });
afterEach(() => bed.end());

describe("containers", () => {
  test("a kill shows before anything is read; its end takes the endpoint away", async () => {
    bed.start();
    await pass(100);
    bed.engine.tell("container", "kill", "c1", { signal: "15" });
    expect(bed.now.containers.items.get("c1")?.state).toBe("stopping");
    expect(bed.now.endpoints.items.size).toBe(1);
    bed.engine.boxes.set("c1", container("c1", "ours", { running: false }));
    bed.engine.tell("container", "die", "c1");
    await pass(50);
    expect(bed.now.containers.items.get("c1")?.state).toBe("exited");
    expect(bed.now.endpoints.items.size).toBe(0);
    bed.engine.boxes.set("c1", container("c1", "ours", { startedAt: "t1" }));
    bed.engine.tell("container", "start", "c1");
    await pass(50);
    expect(bed.now.containers.items.get("c1")?.state).toBe("running");
  });

  test.each([["1", undefined, "running"], ["9", undefined, "stopping"], ["15", "SIGQUIT", "running"], ["3", "SIGQUIT", "stopping"], ["37", "SIGRTMIN+3", "stopping"], ["10", "usr1", "stopping"]])(
    "signal %s with stop signal %s: %s", async (signal, stopSignal, state) => {
      bed.engine.boxes.set("c1", container("c1", "ours", stopSignal === undefined ? {} : { stopSignal }));
      bed.start();
      await pass(100);
      bed.engine.tell("container", "kill", "c1", { signal });
      expect(bed.now.containers.items.get("c1")?.state).toBe(state);
    });

  test("only what looks different is inspected again", async () => {
    bed.start();
    await pass(100);
    bed.engine.asked.length = 0;
    bed.engine.boxes.set("c1", container("c1", "ours", { health: "healthy" }));
    await pass(60_100);
    expect(bed.engine.asked.filter((call) => call.startsWith("container "))).toEqual(["container c1"]);
    expect(bed.now.containers.items.get("c1")?.health).toBe("healthy");
  });

  test("never more than 16 inspections at once", async () => {
    for (let n = 0; n < 100; n++) bed.engine.boxes.set(`b${n}`, container(`b${n}`, "ours"));
    let [open, most] = [0, 0];
    const inspect = bed.engine.container;
    bed.engine.container = async (id) => {
      most = Math.max(most, ++open);
      await Promise.resolve();
      open--;
      return inspect(id);
    };
    bed.start();
    await pass(200);
    expect(bed.now.containers.items.size).toBe(101);
    expect(most).toBe(16);
  });

  test("a container on a network no listing has shown: partial until it is known", async () => {
    bed.start();
    await pass(100);
    bed.engine.boxes.set("c3", container("c3", "late"));
    bed.engine.hanging.add("networks");
    bed.engine.tell("container", "start", "c3");
    await pass(50);
    expect(bed.now.containers.coverage).toBe("partial");
    bed.engine.hanging.clear();
    bed.engine.nets = [...bed.engine.nets, network("late")];
    await pass(8_000);
    expect(bed.now.containers).toMatchObject({ coverage: "complete", items: new Map([["c1", expect.anything()], ["c3", expect.anything()]]) });
  });

  test("an inspection that cannot be read is no absence", async () => {
    bed.engine.broken.set("container c1", new OperatorError("invalid", "Cannot read it"));
    bed.start();
    await pass(100);
    expect(bed.now.containers.coverage).toBe("partial");
    expect(bed.said.filter(([event]) => event === "source.garbage")).toHaveLength(1);
  });
});

