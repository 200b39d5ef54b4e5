/**
 * The reconcilers, in order of dependency: what a run of several names respects.
 *
 * leases before flannel (it carries what we hold), firewall before any link exists (no moment without isolation),
 * gateways before endpoints (their routes name the gateway as source), vips before balancer (guards before marks), publish and
 * mirror last (they tell what is).
 */
export { balancerWith } from "./balancer.ts";
export { dnsWith } from "./dns.ts";
export { endpoints } from "./endpoints.ts";
export { firewall } from "./firewall.ts";
export { flannelWith } from "./flannel.ts";
export { gateways } from "./gateways.ts";
export { leasesWith } from "./leases.ts";
export { mirrorWith } from "./mirror.ts";
export { publishWith } from "./publish.ts";
export { vips } from "./vips.ts";

export const ORDER = ["leases", "firewall", "gateways", "flannel", "endpoints", "vips", "balancer", "dns", "publish", "mirror"] as const;
