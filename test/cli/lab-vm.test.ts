/** What virtual machines are made of, as far as it is computed: module order, boot archive, command line. */
import { describe, expect, test } from "@jest/globals";
import { FILE, FOLDER, cpio } from "../../lab/vm/cpio.ts";
import { emulatorArguments, kernelNamed, loadOrder } from "../../lab/vm/plan.ts";

describe("loadOrder", () => {
  const dep = [
    "kernel/drivers/virtio/virtio.ko:", "kernel/drivers/virtio/virtio_ring.ko: kernel/drivers/virtio/virtio.ko",
    "kernel/drivers/block/virtio_blk.ko: kernel/drivers/virtio/virtio_ring.ko kernel/drivers/virtio/virtio.ko",
    "kernel/fs/ext4/ext4.ko.xz: kernel/lib/crc16.ko.xz", "kernel/lib/crc16.ko.xz:", "kernel/drivers/char/hw_random/virtio-rng.ko:",
  ].join("\n");
  const names = (wanted: readonly string[]): string[] => loadOrder(dep, wanted).map((file) => file.replace(/^.*\//, ""));
  test("needs come first, each once", () => {
    expect(names(["virtio_blk", "virtio_ring"])).toEqual(["virtio.ko", "virtio_ring.ko", "virtio_blk.ko"]);
  });
  test("a name with a dash, a packed file, a built-in one", () => {
    expect(names(["virtio_rng", "ext4", "overlay"])).toEqual(["virtio-rng.ko", "crc16.ko.xz", "ext4.ko.xz"]);
  });
});

test("kernelNamed names the known ones", () => {
  expect(kernelNamed("6.12").suite).toBe("trixie");
  expect(() => kernelNamed("5.10")).toThrow(/Cannot boot kernel "5.10": the lab has 6.1, 6.12/);
});

test("cpio: every entry begins at a multiple of four and says its length", () => {
  const archive = cpio([{ name: "lab", mode: FOLDER }, { name: "lab/env", mode: FILE, content: "A='ä'\n" }]);
  const found: [name: string, content: string][] = [];
  for (let at = 0; at < archive.length && archive.toString("latin1", at, at + 6) === "070701";) {
    const field = (index: number): number => Number.parseInt(archive.toString("latin1", at + 6 + index * 8, at + 14 + index * 8), 16);
    const name = archive.toString("utf8", at + 110, at + 109 + field(11));
    const body = Math.ceil((at + 110 + field(11)) / 4) * 4;
    found.push([name, archive.toString("utf8", body, body + field(6))]);
    at = Math.ceil((body + field(6)) / 4) * 4;
  }
  expect(found).toEqual([["lab", ""], ["lab/env", "A='ä'\n"], ["TRAILER!!!", ""]]);
  expect(archive.length % 512).toBe(0);
});

test("a machine has no way out: user networking is never asked for, without a tap there is no network card", () => {
  const hardware = { name: "m", memoryMb: 512, kernel: "/k", initrd: "/i", drives: [{ file: "/r", readonly: true }], folder: "/f", logs: "/l" };
  expect(emulatorArguments(hardware).join(" ")).not.toMatch(/netdev|virtio-net/);
  expect(emulatorArguments({ ...hardware, tap: { name: "v-m", mac: "02:00:00:00:00:01" } }).filter((word) => /^(tap|user),/.test(word))).toEqual([
    "tap,id=n0,ifname=v-m,script=no,downscript=no"]);
});
