/**
 * Keeps true: a lab has a registry on its LAN when a test wants one, and this machine has none.
 * In: a lab. Out: Debian's docker-registry on a bare host of the lab, its address, its end.
 * Rule: apt fetches and checks the package; it is unpacked into the cache, never installed; data go with the lab.
 */
import type { ChildProcess } from "node:child_process";
import { access, mkdir, readdir, rename, rm, writeFile } from "node:fs/promises";
import { LabError } from "./errors.ts";
import type { Lab } from "./lab.ts";
import { must, run } from "./run.ts";
import { cacheFolder, stateFolder } from "./state.ts";
import { until } from "./wait.ts";

const PORT = 5000;
/** What each node's `prepare` needs: engines speak plain HTTP to loopback alone unless told otherwise. */
export const trusting = (address: string): string =>
  `mkdir -p /etc/docker; echo '{"insecure-registries":["${address}:${PORT}"]}' >/etc/docker/daemon.json`;

export interface Registry {
  /** "10.99.0.151:5000": what stands in front of a plugin's name. */
  readonly name: string;
  stop(): Promise<void>;
}

/** Starts a registry, empty at first, on a bare host of the lab. */
export async function startRegistry(lab: Lab): Promise<Registry> {
  const program = await registryProgram();
  const host = await lab.addHost("registry");
  const folder = `${stateFolder(lab.id)}/registry`;
  await mkdir(folder, { recursive: true });
  await writeFile(`${folder}/config.yml`, `version: 0.1\nstorage:\n  filesystem:\n    rootdirectory: ${folder}/data\nhttp:\n  addr: ${host.address}:${PORT}\n`);
  const child = host.spawn([program, "serve", `${folder}/config.yml`]);
  const said = lastWords(child);
  await until({ what: "start the registry", timeoutMs: 20_000, cure: `run ${program} by hand` }, async () => {
    if (child.exitCode !== null) throw new Error(said());
    return (await host.exec(["curl", "-sf", `http://${host.address}:${PORT}/v2/`])).exitCode === 0 ? true : undefined;
  });
  const gone = new Promise<void>((resolve) => { child.once("exit", () => { resolve(); }); });
  return { name: `${host.address}:${PORT}`, stop: async () => { child.kill("SIGTERM"); await gone; } };
}

function lastWords(child: ChildProcess): () => string {
  let text = "";
  for (const stream of [child.stdout, child.stderr]) stream?.setEncoding("utf8").on("data", (chunk: string) => { text = (text + chunk).slice(-2_000); });
  return () => text.trim();
}

async function registryProgram(): Promise<string> {
  const place = `${cacheFolder()}/registry`;
  const program = `${place}/usr/bin/docker-registry`;
  if (await access(program).then(() => true, () => false)) return program;
  const half = `${place}.half`;
  await rm(half, { recursive: true, force: true });
  await mkdir(half, { recursive: true });
  const fetch = (): ReturnType<typeof run> => run("apt-get", ["-q", "-o", "APT::Sandbox::User=root", "download", "docker-registry"], { cwd: half, timeoutMs: 300_000 });
  if ((await fetch()).exitCode !== 0) {
    await must("refresh apt's lists", "apt-get", ["-q", "update"], { timeoutMs: 600_000 });
    const { exitCode, stderr } = await fetch();
    if (exitCode !== 0) throw new LabError(`Cannot get the registry's program: ${stderr.trim()}`, "see 'apt-get download docker-registry'");
  }
  const [archive = ""] = (await readdir(half)).filter((name) => name.endsWith(".deb"));
  await must("unpack the registry", "dpkg", ["-x", `${half}/${archive}`, half]);
  await rename(half, place);
  return program;
}
