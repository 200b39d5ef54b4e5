/**
 * Keeps true: what a virtual machine is made of follows from its kernel and its engine alone.
 * In: what the user typed, the kernel package's own lists. Out: names, module order, QEMU's command line.
 * Rule: pure; no file, process or clock.
 */
import { LabError } from "../errors.ts";

/** A Debian suite per kernel. */
export interface Kernel {
  /** What the user types: "6.1" or "6.12". */
  readonly name: string;
  readonly suite: string;
}

export const KERNELS: readonly Kernel[] = [{ name: "6.1", suite: "bookworm" }, { name: "6.12", suite: "trixie" }];
export const KERNEL_PACKAGE = "linux-image-cloud-amd64";
/** What the emulator's own root has: a newer QEMU than this machine's may be, a third faster than 7.2, and the tools that make images. */
export const EMULATOR = { suite: "trixie", packages: ["qemu-system-x86", "seabios", "e2fsprogs", "kmod", "xz-utils"] } as const;
/** Needed before the root can be mounted; everything else is loaded from the modules' disk. */
export const EARLY_MODULES: readonly string[] = ["virtio_pci", "virtio_blk", "ext4", "overlay"];

export function kernelNamed(name: string): Kernel {
  const kernel = KERNELS.find((candidate) => candidate.name === name);
  if (kernel) return kernel;
  throw new LabError(`Cannot boot kernel "${name}": the lab has ${KERNELS.map((one) => one.name).join(", ")}`, "give one of these, e.g. --kernel 6.1");
}

/** modules.dep ("a.ko: b.ko c.ko", needs to the right) → the files to insert, needs first; a name that is built in has no line. */
export function loadOrder(dep: string, wanted: readonly string[]): readonly string[] {
  const needs = new Map(dep.split("\n").filter((line) => line.includes(":")).map((line) => {
    const [file = "", rest = ""] = line.split(":");
    return [file, rest.trim().split(/\s+/).filter(Boolean)] as const;
  }));
  const nameOf = (file: string): string => file.replace(/^.*\//, "").replace(/\.ko.*$/, "").replaceAll("-", "_");
  const files = wanted.flatMap((name) => [...needs.keys()].filter((file) => nameOf(file) === name));
  // depmod lists all needs, direct ones first: from right to left each finds its own already there.
  return [...new Set(files.flatMap((file) => [...(needs.get(file) ?? [])].reverse().concat(file)))];
}

export interface Drive { readonly file: string; readonly readonly: boolean }

export interface Hardware {
  readonly name: string;
  readonly memoryMb: number;
  readonly kernel: string;
  readonly initrd: string;
  readonly drives: readonly Drive[];
  /** A tap device that exists, and the machine's address on it; none: no network. */
  readonly tap?: { readonly name: string; readonly mac: string } | undefined;
  /** Folder of sockets and the console's log; logs of the guest's programs go to `logs`. */
  readonly folder: string;
  readonly logs: string;
}

/** cx16 off: QEMU 7.2 with kernel 6.12 corrupts the guest around cmpxchg16b; newer ones lose nothing by it. */
const FIXED = ["-nodefaults", "-no-user-config", "-no-reboot", "-display", "none", "-machine", "q35", "-accel", "tcg,thread=multi,tb-size=256", "-cpu", "max,-cx16", "-smp", "2"];
/** `panic=-1` with -no-reboot: a machine that panics is off, at once. */
const APPEND = "console=ttyS0 loglevel=4 panic=-1 mitigations=off nokaslr audit=0 tsc=reliable net.ifnames=0 random.trust_cpu=on";
export const GUEST_LOGS = ["dockerd", "containerd"] as const;

export function emulatorArguments(hardware: Hardware): readonly string[] {
  const { folder, logs, tap } = hardware;
  return [
    ...FIXED, "-name", hardware.name, "-m", String(hardware.memoryMb), "-kernel", hardware.kernel, "-initrd", hardware.initrd, "-append", APPEND,
    ...hardware.drives.flatMap((drive, index) => [
      "-drive", `file=${drive.file},if=none,id=d${index},format=raw,cache=unsafe${drive.readonly ? ",readonly=on,file.locking=off" : ""}`,
      "-device", `virtio-blk-pci,drive=d${index}`]),
    ...(tap ? ["-netdev", `tap,id=n0,ifname=${tap.name},script=no,downscript=no`, "-device", `virtio-net-pci,netdev=n0,id=nic0,mac=${tap.mac},romfile=`] : []),
    "-device", "virtio-rng-pci", "-device", "virtio-serial-pci", "-chardev", `socket,id=wire,path=${folder}/wire.sock,server=on,wait=off`,
    "-device", "virtserialport,chardev=wire,name=wire",
    ...GUEST_LOGS.flatMap((log) => ["-chardev", `file,id=${log},path=${logs}/${log}.log,append=on`, "-device", `virtserialport,chardev=${log},name=${log}`]),
    "-chardev", `file,id=console,path=${logs}/console.log,append=on`, "-serial", "chardev:console",
    "-monitor", `unix:${folder}/monitor.sock,server=on,wait=off`,
  ];
}
