/**
 * The balancer: one contract, two engines (design D11).
 *
 * Rule: both pass test/contract/balancer.test.ts; who plans never knows which one it is.
 */
export { countFlows } from "./balancer/flows.ts";
export { chooseEngine, type EngineChoice } from "./balancer/engine.ts";
export { withIdleLimits } from "./balancer/idle-limits.ts";
export { withIpvsSettings, withoutIpvs, type FormerValues } from "./balancer/ipvs-settings.ts";
export { ipvsBalancer } from "./balancer/ipvs.ts";
export { nftBalancer } from "./balancer/nftables.ts";
export type {
  BalancerChange, BalancerEntry, BalancerState, Scheduler, SeenEntry, SeenServer, SeenService, Server, VirtualService,
} from "./balancer/vocabulary.ts";
