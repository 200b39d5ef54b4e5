/**
 * The stories, one line a step (verbs.ts). Golden files of the same names hold what follows from each step.
 */
import type { Story } from "./story.ts";

const two = (...lines: readonly string[]): Story => ({ nodes: ["manager", "worker"], lines });
const managers = (...lines: readonly string[]): Story => ({ nodes: ["manager", "manager"], lines });

export const STORIES: Readonly<Record<string, Story>> = {
  "a-container": two("network web", "run box on web", "run more on web at node2", "end box", "end more at node2", "remove-network web", "wait 70"),
  "a-service": two("network web", "service api on web replicas 2", "scale api replicas 5", "scale api replicas 1", "remove-service api", "remove-network web", "wait 70"),
  "two-networks": two("network web", "network back", "service api on web,back replicas 2", "service db on back replicas 1", "remove-service api", "remove-network web", "remove-service db", "remove-network back", "wait 70"),
  "endpoint-modes": two("network web", "service api on web replicas 2", "mode api mode dnsrr", "mode api mode vip", "remove-service api"),
  "etcd-away": two("network web", "service api on web replicas 2", "cut etcd", "run box on web", "scale api replicas 4", "network late", "scale api replicas 1", "end box", "heal etcd", "network late", "remove-service api"),
  "docker-away": two("network web", "service api on web replicas 4", "cut docker at node1", "scale api replicas 3", "heal docker at node1", "cut docker at node2", "wait 30", "heal docker at node2", "remove-service api"),
  "partition": two("network web", "service api on web replicas 4", "cut etcd at node2", "wait 60", "scale api replicas 2", "heal etcd at node2", "scale api replicas 4"),
  "a-node-dies": two("network web", "service api on web replicas 4", "off node2", "wait 15", "on node2", "scale api replicas 6"),
  "a-node-rejoins": two("network web", "service api on web replicas 2", "leave node2", "wait 15", "join node2 as node9", "scale api replicas 4"),
  "another-leader": managers("network web", "service api on web replicas 2", "leader node2", "scale api replicas 3", "leader node1", "replay", "replay", "remove-service api", "remove-network web", "wait 70"),
  "plugin-restarts": two(
    "network web", "service api on web replicas 4", "kill node1", "start node1", "kill node1", "lose-state node1", "start node1", "kill node2", "damage-state node2", "start node2",
    "stop node2", "wait 20", "start node2", "cut etcd", "kill node1", "start node1", "scale api replicas 5", "heal etcd", "remove-service api",
  ),
  "a-clock-set-back": two(
    "network web", "service api on web replicas 2", "clock -7200", "scale api replicas 4", "scale api replicas 2", "cut etcd at node2", "wait 15", "clock -60", "heal etcd at node2",
    "kill node1", "start node1", "scale api replicas 3", "stop node2", "clock -30", "start node2", "clock 7200", "remove-service api", "remove-network web", "wait 70",
  ),
  "network-goes-first": two("network web", "service api on web replicas 2", "stopping api", "remove-network web", "stopped api", "wait 70"),
  "garbage": two(
    "network web", "service api on web replicas 2", "put pools/nonsense = nonsense", "put pools/10.1.64.0-20 = {\"cidr\":7}", "put nodes/node2/containers/x = [1,2", "put docker/networks/strange = {}",
    "put networks/web/subnets/10.1.9.0-25 = {}", "put foreign/key = {}", "scale api replicas 4", "scale api replicas 1", "delete pools/10.1.64.0-20", "delete docker/networks/strange", "remove-service api", "remove-network web", "wait 70", "delete networks/web/subnets/10.1.9.0-25", "wait 5",
  ),
};
