/**
 * Keeps one veth pair, one host route and the link's sysctls per container endpoint of this node.
 *
 * In:  snapshot: endpoints (Docker's listing and driver calls), pools, leases.
 * Out: EndpointChange[] for sinks/links.ts; key = name of the host end.
 * Rule: a link whose endpoint Docker declared ended goes at once; any other surplus only when the listing is complete.
 * A joined container whose link is gone cannot be mended from outside: said (`broken`), not attempted.
 */
import type { EndpointId } from "../core/ids.ts";
import type { Endpoint } from "../core/model.ts";
import { vethHost, vethPeer } from "../core/names.ts";
import { diff, type Broken, type Plan } from "../core/plan.ts";
import { values } from "../core/precedence.ts";
import type { Desired, Reconciler } from "../core/reconciler.ts";
import { carriedNetworks, type CarriedNetwork } from "../core/select.ts";
import type { EndpointChange, EndpointLink, EndpointState, ObservedEndpoint } from "../sinks/links.ts";

export interface WantedEndpoints {
  readonly links: ReadonlyMap<string, EndpointLink>;
  /** Endpoint ids that Docker told us are over. */
  readonly ended: ReadonlySet<string>;
}

export const endpoints: Reconciler<WantedEndpoints, EndpointState, EndpointChange> = {
  name: "endpoints",
  desire(snapshot) {
    const carried = new Map(carriedNetworks(snapshot).map((network) => [network.network, network]));
    const links = new Map<string, EndpointLink>();
    const blocked: string[] = [];
    for (const endpoint of values(snapshot.endpoints)) {
      const network = carried.get(endpoint.network);
      if (network === undefined) blocked.push(`endpoint ${endpoint.id}: this node holds no subnet of network ${endpoint.network} yet`);
      else {
        const link = linkOf(endpoint, network);
        links.set(link.link, link);
      }
    }
    // A blocked endpoint keeps its link: without its network we cannot tell which link is its own.
    const settled = snapshot.endpoints.settled && blocked.length === 0;
    return { value: { links, ended: snapshot.ended }, settled, blocked: blocked.sort() };
  },
  plan(desired, observed) {
    const { links, ended } = desired.value;
    const { create, update, remove } = diff(links, observed, (want, is) => difference(want, is) === undefined);
    const lost = desired.settled ? create.filter(([, link]) => link.joined).map(([, link]) => lostLink(link)) : [];
    const wanted: EndpointChange[] = [
      ...create.filter(([, link]) => !link.joined).map(([key, endpoint]): EndpointChange => ({ op: "create", key, why: "missing", endpoint })),
      ...update.map(([key, endpoint, was]): EndpointChange => ({ op: "update", key, why: difference(endpoint, was) ?? "", endpoint })),
    ];
    return { ...withholdUnlessEnded(wanted, remove, desired, ended), ...(lost.length === 0 ? {} : { broken: lost }) };
  },
};

function linkOf(endpoint: Endpoint, { vni, gateway, mtuBytes }: CarriedNetwork): EndpointLink {
  return {
    link: vethHost(vni, endpoint.id), peer: vethPeer(endpoint.id), alias: endpoint.id, address: endpoint.address,
    source: gateway, mtuBytes, joined: endpoint.stage === "joined",
  };
}

const lostLink = ({ alias, address, link }: EndpointLink): Broken => ({
  reason: `Endpoint ${alias} (${address}): somebody deleted its link ${link}, and a new one cannot be put into the running container`, cure: "Restart the container",
});

/** What is wrong with a link, in words; undefined when all is well. */
function difference(want: EndpointLink, is: ObservedEndpoint): string | undefined {
  const faults = [...is.faults];
  if (is.alias !== want.alias) faults.push("alias differs");
  if (is.mtuBytes !== want.mtuBytes) faults.push(`mtu ${is.mtuBytes} → ${want.mtuBytes}`);
  const [route] = is.routes;
  if (route === undefined) faults.push(`no route to ${want.address}`);
  else if (is.routes.length > 1 || route.address !== want.address || route.source !== want.source) faults.push("its routes differ");
  return faults.length === 0 ? undefined : faults.join(", ");
}

function withholdUnlessEnded(
  wanted: readonly EndpointChange[], remove: readonly (readonly [string, ObservedEndpoint])[],
  { settled }: Desired<WantedEndpoints>, ended: ReadonlySet<string>,
): Plan<EndpointChange> {
  const deletes = remove.map(([key, { alias }]): EndpointChange & { readonly sure: boolean } => {
    const over = ended.has(alias as EndpointId);
    return { op: "delete", key, link: key, why: over ? "Docker ended its endpoint" : "no container has it", sure: settled || over };
  });
  const plain = ({ sure: _, ...change }: EndpointChange & { readonly sure: boolean }): EndpointChange => change as EndpointChange;
  return {
    changes: [...deletes.filter(({ sure }) => sure).map(plain), ...wanted],
    held: deletes.filter(({ sure }) => !sure).map(plain),
  };
}
