/**
 * Connection tracking where this process cannot open a socket, in a virtual machine: by conntrack-tools instead of netlink.
 *
 * In:  an `Exec` that runs there.  Out: the sinks' `Conntrack`; its handles are the tool's own words.
 */
import type { Ipv4 } from "../../src/core/ids.ts";
import { TCP, UDP, type Connection, type Conntrack } from "../../src/sinks/conntrack.ts";
import { expectSuccess, type Exec } from "../../src/sinks/exec.ts";

const ENTRY = /^(tcp|udp) .*?src=(\S+) dst=(\S+) sport=(\d+) dport=(\d+) .*?src=(\S+) /;
const timeoutMs = 60_000;

export const conntrackByTool = (exec: Exec): Conntrack => ({
  find: async (want, signal) => {
    const { stdout } = expectSuccess(await exec({ file: "conntrack", args: ["-L"], timeoutMs }, signal), "list connections");
    return stdout.split("\n").flatMap((line): Connection[] => {
      const [, name, origSrc, origDst = "", sport, dport, replySrc = ""] = ENTRY.exec(line) ?? [];
      const handle = Buffer.from(`-p ${name} --orig-src ${origSrc} --orig-dst ${origDst} --orig-port-src ${sport} --orig-port-dst ${dport}`);
      return name === undefined ? [] : [{ protocol: name === "tcp" ? TCP : UDP, origDst: origDst as Ipv4, replySrc: replySrc as Ipv4, state: undefined, handle }];
    }).filter(want);
  },
  end: async (connections, signal) => {
    const script = connections.map(({ handle }) => `conntrack -D ${Buffer.from(handle).toString()} || true`).join("\n");
    expectSuccess(await exec({ file: "sh", args: ["-c", script], timeoutMs }, signal), "end connections");
  },
});
