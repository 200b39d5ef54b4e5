/** IPVS as kernel 6.1 prints it and as ipvsadm 1.31 saves it. */
import { expect, it } from "@jest/globals";
import { hasAffinity, hertzOf, parseIpvs } from "../../src/sinks/balancer/ipvs-text.ts";

const KERNEL = `IP Virtual Server version 1.2.1 (size=4096)
Prot LocalAddress:Port Scheduler Flags
  -> RemoteAddress:Port Forward Weight ActiveConn InActConn
TCP  01020304:0050 rr  
  -> 0A020202:0050      Masq    1      0          0         
FWM  00005001 rr 
  -> 0A01020B:0000      Masq    0      2          1         
  -> 0A01010B:0000      Masq    1      0          0         
FWM  00005002 sh 
  -> 0A01020B:0000      Route   0      0          0         
FWM  00005003 wrr persistent 150000 FFFFFFFF
FWM  00000007 wrr 
  -> 0A090909:0000      Masq    3      0          0         
FWM  00005005 lc 
`;
const SAVED = `-A -t 1.2.3.4:80 -s rr
-a -t 1.2.3.4:80 -r 10.2.2.2:80 -m -w 1
-A -f 20481 -s rr
-A -f 20482 -s sh -b sh-fallback
-A -f 20483 -s wrr -p 600
`;
const RANGE = { first: 0x5000, last: 0x5fff };

it("services of our marks, servers with what leads to them", () => {
  const services = parseIpvs(KERNEL, RANGE, hertzOf(KERNEL, SAVED));
  expect([...services.values()].map(({ mark, scheduler, affinitySeconds, servers }) => [mark, scheduler, affinitySeconds, servers.size]))
    .toEqual([[20481, "rr", 0, 2], [20482, "sh", 0, 1], [20483, "wrr", 600, 0], [20485, "lc", 0, 0]]);
  expect([...services.get(20481)?.servers.values() ?? []]).toEqual([
    { address: "10.1.2.11", forward: "Masq", weight: 0, connections: 3 }, { address: "10.1.1.11", forward: "Masq", weight: 1, connections: 0 },
  ]);
});

it("affinity: the kernel tells it in ticks, ipvsadm in seconds", () => {
  expect([hasAffinity(KERNEL), hasAffinity(KERNEL.replace(/ persistent.*/, " "))]).toEqual([true, false]);
  expect([hertzOf(KERNEL, SAVED), hertzOf(KERNEL, SAVED.replace("20483", "20484")), hertzOf("", SAVED)]).toEqual([250, undefined, undefined]);
  expect(parseIpvs(KERNEL, RANGE).get(20483)?.affinitySeconds).toBe(0);
});
