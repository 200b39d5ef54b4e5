/**
 * A plugin server on a socket of its own, drivers that only take notes, and a client that speaks as dockerd does.
 */
import { mkdtemp, rm } from "node:fs/promises";
import { Agent, request as httpRequest } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Emit, EventName } from "../../src/core/events.ts";
import type { Cidr } from "../../src/core/ids.ts";
import type { Drivers } from "../../src/plugin/drivers.ts";
import { pluginServer, type PluginServerOptions } from "../../src/plugin/server.ts";

export interface Answer { readonly status: number; readonly type: string; readonly text: string }
export interface Told { readonly event: EventName; readonly fields: Readonly<Record<string, unknown>> }
export interface Noted { readonly method: string; readonly request: unknown }

export interface Live {
  readonly socketPath: string;
  readonly events: readonly Told[];
  /** What the drivers were called with. */
  readonly noted: readonly Noted[];
  post(path: string, body?: string, method?: string): Promise<Answer>;
  close(): Promise<void>;
}

/** Drivers that answer every call with something valid. */
export function notingDrivers(noted: Noted[]): Drivers {
  const note = <A>(method: string, answer: A) => (request: unknown): Promise<A> => {
    noted.push({ method, request });
    return Promise.resolve(answer);
  };
  return {
    ipam: {
      requestPool: note("requestPool", { PoolID: "G:u1", Pool: "10.1.0.0/16" as Cidr, Data: {} }),
      releasePool: note("releasePool", undefined),
      requestAddress: note("requestAddress", { Address: "10.1.2.10/16" as `${never}/16`, Data: {} }),
      releaseAddress: note("releaseAddress", undefined),
    },
    network: {
      allocateNetwork: note("allocateNetwork", { Options: { a: "b" } }),
      freeNetwork: note("freeNetwork", undefined),
      createNetwork: note("createNetwork", undefined),
      deleteNetwork: note("deleteNetwork", undefined),
      createEndpoint: note("createEndpoint", undefined),
      deleteEndpoint: note("deleteEndpoint", undefined),
      join: note("join", { InterfaceName: { SrcName: "fnq1", DstPrefix: "eth" }, StaticRoutes: [], DisableGatewayService: false }),
      leave: note("leave", undefined),
    },
  };
}

type Overrides = Partial<Omit<PluginServerOptions, "drivers">> & { readonly network?: Partial<Drivers["network"]>; readonly ipam?: Partial<Drivers["ipam"]> };

export async function live({ network = {}, ipam = {}, ...options }: Overrides = {}): Promise<Live> {
  const folder = options.socketPath === undefined ? await mkdtemp(join(tmpdir(), "fnp-plugin-")) : undefined;
  const socketPath = options.socketPath ?? join(folder ?? "", "plugin.sock");
  const events: Told[] = [];
  const noted: Noted[] = [];
  const emit: Emit = (event, fields) => { events.push({ event, fields }); };
  const drivers = notingDrivers(noted);
  const server = await pluginServer({
    emit, ...options, socketPath, drivers: { network: { ...drivers.network, ...network }, ipam: { ...drivers.ipam, ...ipam } },
  });
  // As dockerd: connections are kept and used again.
  const agent = new Agent({ keepAlive: true });
  return {
    socketPath, events, noted,
    post: (path, body = "", method = "POST") => send(agent, socketPath, path, body, method),
    async close() {
      agent.destroy();
      await server.close();
      if (folder !== undefined) await rm(folder, { recursive: true, force: true });
    },
  };
}

function send(agent: Agent, socketPath: string, path: string, body: string, method: string): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const request = httpRequest({
      agent, socketPath, path, method,
      headers: { "Accept": "application/vnd.docker.plugins.v1.2+json", "User-Agent": "Go-http-client/1.1", "Host": "", "Content-Length": Buffer.byteLength(body) },
    }, (response) => {
      let text = "";
      response.setEncoding("utf8");
      response.on("data", (chunk: string) => { text += chunk; });
      response.on("end", () => { resolve({ status: response.statusCode ?? 0, type: response.headers["content-type"] ?? "", text }); });
      response.on("error", reject);
    });
    request.on("error", reject);
    request.end(body);
  });
}
