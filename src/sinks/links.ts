/**
 * Our links, addresses and routes in the host's network namespace, for two reconcilers that each see only their own.
 *
 * In:  `GatewayChange`s, `EndpointChange`s.  Out: `GatewayState`, `EndpointState`, read with `ip -json` and /proc/sys.
 * Rule: one process per look, one per apply (Join waits for it); a change that fails keeps no other from being tried, and
 *       the rejection comes after all of them.
 */
import { asOperatorError, OperatorError } from "../core/errors.ts";
import type { Sink } from "../core/reconciler.ts";
import type { Exec } from "./exec.ts";
import { runBatch, showBatch, type BatchLine } from "./links/batch.ts";
import { parseEndpoints, parseGateways, withFaults } from "./links/parse.ts";
import { endpointLines, endpointRemoval, gatewayLines, linkSettings, ROUTE_PROTOCOL } from "./links/render.ts";
import type { EndpointChange, EndpointLink, EndpointState, GatewayChange, GatewayState } from "./links/vocabulary.ts";
import type { Sysctls } from "./sysctls.ts";

export type {
  EndpointChange, EndpointLink, EndpointState, GatewayChange, GatewayEntry, GatewayState, ObservedEndpoint,
} from "./links/vocabulary.ts";

const FORWARDING = "net/ipv4/ip_forward";
const OUR_ROUTES: BatchLine = { text: `route show table all proto ${ROUTE_PROTOCOL}` };
/** By kind, since the link may be either; by name a resident `ip` would look for the number that the name once had. */
const GATEWAY_ADDRESSES: readonly BatchLine[] = [{ text: "address show type dummy" }, { text: "address show type bridge" }];
const VETHS: BatchLine = { text: "link show type veth" };

/** Changes may come in any order: link, addresses, routes are made in this order and removed in the opposite one. */
export function gatewayLinks(exec: Exec, sysctls: Sysctls): Sink<GatewayState, GatewayChange> {
  return {
    observe: async (signal) => {
      const [routes, ...addresses] = await showBatch(exec, [OUR_ROUTES, ...GATEWAY_ADDRESSES], signal);
      const [forwarding] = await sysctls.read([FORWARDING]);
      return parseGateways(routes, addresses.flat(), forwarding);
    },
    apply: async (changes, signal) => {
      const forwarding = changes.filter(({ entry }) => entry.kind === "forwarding");
      if (forwarding.some(({ op }) => op === "delete")) {
        throw new OperatorError("bug", "Cannot switch forwarding off: other programs of this host need it too");
      }
      const settings = forwarding.map(() => [FORWARDING, "1"] as const);
      await runBatch(exec, gatewayLines(changes), signal).finally(() => sysctls.write(settings));
    },
  };
}

/** Rejects with `unsupported` where a joined endpoint's pair is gone, `unavailable` where its source is no address of the host yet. */
export function endpointLinks(exec: Exec, sysctls: Sysctls): Sink<EndpointState, EndpointChange> {
  const observe = async (signal: AbortSignal): Promise<EndpointState> => {
    const [routes, links] = await showBatch(exec, [OUR_ROUTES, VETHS], signal);
    const bare = parseEndpoints(routes, links);
    const paths = bare.map(({ link }) => linkSettings(link).map(({ path }) => path));
    const values = await sysctls.read(paths.flat());
    const perLink = linkSettings("").length;
    return new Map(bare.map((endpoint, index) =>
      [endpoint.link, withFaults(endpoint, values.slice(index * perLink, (index + 1) * perLink))]));
  };
  return {
    observe,
    apply: async (changes, signal) => {
      // Only an update may have stale routes to remove; a create, which Join waits for, saves the look.
      const before: EndpointState = changes.some(({ op }) => op === "update") ? await observe(signal) : new Map();
      const lines = changes.flatMap((change) =>
        change.op === "delete" ? [endpointRemoval(change.link)] : endpointLines(change.endpoint, before.get(change.endpoint.link)));
      const kept = changes.flatMap((change) => (change.op === "delete" ? [] : [change.endpoint]));
      const settings = kept.flatMap(({ link }) => linkSettings(link).map(({ path, value }) => [path, value] as const));
      await named(kept, runBatch(exec, lines, signal)).finally(() => sysctls.write(settings));
    },
  };
}

/** Says of a missing link what it means for the container whose it was. */
async function named(endpoints: readonly EndpointLink[], run: Promise<void>): Promise<void> {
  try {
    await run;
  } catch (error) {
    const failure = asOperatorError(error);
    const victim = endpoints.find(({ link, joined }) => joined && failure.message.includes(link));
    if (failure.code !== "not-found" || victim === undefined) throw failure;
    throw new OperatorError("unsupported", `Cannot make the link of endpoint ${victim.alias} (${victim.address}): its other end is no longer in the container`, {
      cause: failure, context: failure.context, cure: "Restart the container",
    });
  }
}
