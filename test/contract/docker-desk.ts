/**
 * Docker's API as far as the plugin asks it, on a unix socket: a manager that leads alone, with the networks, services and containers a test says.
 *
 * Rule: bodies in Docker's own spelling (docker-plugin-protocol.md §7.2), so that the decoders are part of what is tested.
 */
import { createServer, type Server, type ServerResponse } from "node:http";
import { NODE_ADDRESS } from "./plugin-stand.ts";

export interface DeskNetwork { readonly id: string; readonly cidr: string }
export interface DeskBox { readonly id: string; readonly network: string; readonly endpoint: string; readonly address: string; readonly sandbox: string }
export interface DeskService { readonly id: string; readonly network: string; readonly vip: string }

const NODE = "node1";

export class DockerDesk {
  readonly networks = new Map<string, DeskNetwork>();
  readonly boxes = new Map<string, DeskBox>();
  readonly services = new Map<string, DeskService>();
  /** False: every call fails, as while dockerd starts. */
  answers = true;
  readonly #streams = new Set<ServerResponse>();
  #server: Server | undefined;

  listen(path: string): Promise<void> {
    const server = createServer((request, response) => this.#serve((request.url ?? "").split("?")[0] ?? "", response));
    this.#server = server;
    return new Promise((resolve) => { server.listen(path, resolve); });
  }

  close(): void {
    this.#server?.closeAllConnections();
    this.#server?.close();
  }

  tell(Type: string, Action: string, ID: string, Attributes: Readonly<Record<string, string>> = {}, scope = "local"): void {
    for (const stream of this.#streams) stream.write(`${JSON.stringify({ Type, Action, scope, Actor: { ID, Attributes } })}\n`);
  }

  /** Streams end when calls begin to fail. */
  silence(): void {
    this.answers = false;
    for (const stream of this.#streams) stream.destroy();
    this.#streams.clear();
  }

  #serve(path: string, response: ServerResponse): void {
    if (!this.answers) return void response.writeHead(503).end('{"message":"starting"}');
    if (path === "/events") {
      response.writeHead(200, { "content-type": "application/json" });
      response.flushHeaders();
      this.#streams.add(response);
      response.on("close", () => { this.#streams.delete(response); });
      return;
    }
    const body = this.#answer(path);
    response.writeHead(body === undefined ? 404 : 200, { "content-type": "application/json" }).end(JSON.stringify(body ?? { message: "not found" }));
  }

  #answer(path: string): unknown {
    const [, box] = /^\/containers\/([^/]+)\/json$/.exec(path) ?? [];
    if (path === "/info") return { Swarm: { NodeID: NODE, NodeAddr: NODE_ADDRESS, LocalNodeState: "active", ControlAvailable: true } };
    if (path === "/nodes") return [{ ID: NODE, Version: { Index: 1 }, Description: { Hostname: NODE }, Status: { State: "ready" }, ManagerStatus: { Leader: true } }];
    if (path === "/plugins") return [{ Id: "p1", Name: "flannel-np:latest", Config: { Interface: { Socket: "flannel-np.sock" } } }];
    if (path === "/tasks") return [];
    if (path === "/networks") return [...this.networks.values()].map(({ id, cidr }) => ({ Id: id, Name: id, Driver: "flannel-np:latest", IPAM: { Config: [{ Subnet: cidr }] } }));
    if (path === "/services") return [...this.services.values()].map(serviceBody);
    if (path === "/containers/json") return [...this.boxes.values()].map((one) => ({ Id: one.id, State: "running", Names: [`/${one.id}`], NetworkSettings: settings(one) }));
    if (path.startsWith("/networks/")) return this.networks.get(path.slice(10));
    const found = box === undefined ? undefined : this.boxes.get(box);
    return found === undefined ? undefined : { Id: found.id, Name: `/${found.id}`, State: { Status: "running", StartedAt: "t" }, Config: { Hostname: found.id }, NetworkSettings: settings(found) };
  }
}

const settings = ({ network, endpoint, address, sandbox }: DeskBox): unknown =>
  ({ SandboxKey: `/run/docker/netns/${sandbox}`, Networks: { [network]: { NetworkID: network, EndpointID: endpoint, IPAddress: address } } });

const serviceBody = ({ id, network, vip }: DeskService): unknown => ({
  ID: id, Version: { Index: 5 }, Spec: { Name: id, EndpointSpec: { Mode: "vip" }, TaskTemplate: { Networks: [{ Target: network }] } },
  Endpoint: { VirtualIPs: [{ NetworkID: network, Addr: `${vip}/20` }] },
});
