/** What hands do to a balancer's tables, and what others keep beside ours. Each damage is to the service 10.1.0.5 with its servers b1 and b2. */
import { VIP_TABLE } from "../../src/core/names.ts";
import type { BalancerEngine } from "../../src/core/service-labels.ts";
import type { Namespace } from "./namespace.ts";

type Deed = (host: Namespace) => Promise<void>;
const nft = (text: string): Deed => async (host) => { await host.must("nft", ["-f", "-"], `${text}\n`); };
const ipvs = (text: (mark: number, side: number) => string): Deed => async (host) => {
  const mark = async (map: string): Promise<number> => {
    const listed = JSON.parse(await host.must("nft", ["-j", "list", "map", "ip", VIP_TABLE, map])) as { nftables: readonly { map?: { elem: readonly (readonly [string, number])[] } }[] };
    return listed.nftables.flatMap(({ map: one }) => one?.elem ?? []).find(([vip]) => vip === "10.1.0.5")?.[1] ?? 0;
  };
  await host.must("ipvsadm", ["--restore"], `${text(await mark("vips"), await mark("datagrams"))}\n`);
};

export const DAMAGES: Readonly<Record<BalancerEngine, Readonly<Record<string, Deed>>>> = {
  nftables: {
    "the table is gone": nft(`delete table ip ${VIP_TABLE}`),
    "nothing leads to the service": nft(`delete element ip ${VIP_TABLE} vips { 10.1.0.5 }`),
    "nothing leads to any service": nft(`flush map ip ${VIP_TABLE} vips`),
    "all slots are empty": nft(`flush map ip ${VIP_TABLE} slots`),
    "a slot is empty": nft(`delete element ip ${VIP_TABLE} slots { 10.1.0.5 . 0 }`),
    "a slot leads elsewhere": nft(`delete element ip ${VIP_TABLE} slots { 10.1.0.5 . 0 }\nadd element ip ${VIP_TABLE} slots { 10.1.0.5 . 0 : 10.1.1.77 }`),
    "a slot more": nft(`add element ip ${VIP_TABLE} slots { 10.1.0.5 . 7 : 10.1.1.77 }`),
    "two slots lead to one server": nft(`delete element ip ${VIP_TABLE} slots { 10.1.0.5 . 0 }\nadd element ip ${VIP_TABLE} slots { 10.1.0.5 . 0 : 10.1.1.12 }`),
    "its chain is empty": nft(`flush chain ip ${VIP_TABLE} vip-10.1.0.5`),
    "its chain has a rule more": nft(`insert rule ip ${VIP_TABLE} vip-10.1.0.5 accept`),
    "its chain says something else": nft(`flush chain ip ${VIP_TABLE} vip-10.1.0.5\nadd rule ip ${VIP_TABLE} vip-10.1.0.5 dnat to 10.1.1.11`),
    "a service that nobody made": nft(`add chain ip ${VIP_TABLE} vip-10.1.0.77\nadd element ip ${VIP_TABLE} vips { 10.1.0.77 : goto vip-10.1.0.77 }`),
    "a server is said to drain": nft(`add element ip ${VIP_TABLE} draining { 10.1.0.5 . 10.1.1.77 }`),
  },
  ipvs: {
    "all services are gone": ipvs(() => "-C"),
    "its service is gone": ipvs((mark) => `-D -f ${mark}`),
    "its UDP service is gone": ipvs((_mark, side) => `-D -f ${side}`),
    "a server is gone": ipvs((mark) => `-d -f ${mark} -r 10.1.1.12:0`),
    "a server is gone for UDP": ipvs((_mark, side) => `-d -f ${side} -r 10.1.1.12:0`),
    "a server has another weight": ipvs((mark) => `-e -f ${mark} -r 10.1.1.12:0 -m -w 7`),
    "a server is reached another way": ipvs((mark) => `-e -f ${mark} -r 10.1.1.12:0 -g -w 1`),
    "a server more": ipvs((mark) => `-a -f ${mark} -r 10.1.1.77:0 -m -w 1`),
    "another scheduler": ipvs((mark) => `-E -f ${mark} -s wlc`),
    "a service of a mark of ours that no VIP leads to": ipvs(() => "-A -f 30001 -s rr"),
    "nothing leads to the service": nft(`delete element ip ${VIP_TABLE} vips { 10.1.0.5 }\ndelete element ip ${VIP_TABLE} datagrams { 10.1.0.5 }`),
    "it is closed, and has servers": nft(`add element ip ${VIP_TABLE} closed { 10.1.0.5 }`),
    "its mark is none of ours": nft(`delete element ip ${VIP_TABLE} vips { 10.1.0.5 }\nadd element ip ${VIP_TABLE} vips { 10.1.0.5 : 7 }`),
    "the table is gone": nft(`delete table ip ${VIP_TABLE}`),
  },
};

const OTHER_TABLE = "table ip other {\n\tmap vips {\n\t\ttype ipv4_addr : verdict\n\t}\n\tchain vip-10.1.0.5 {\n\t}\n}";
const OTHER_SERVICES = ["-A -t 192.0.2.1:80 -s rr", "-a -t 192.0.2.1:80 -r 10.9.9.9:80 -m -w 1", "-A -f 7 -s wrr", "-a -f 7 -r 10.9.9.9:0 -m -w 3"];

export const FOREIGN: Readonly<Record<BalancerEngine, { make(host: Namespace): Promise<void>; show(host: Namespace): Promise<string> }>> = {
  nftables: {
    make: async (host) => { await nft(OTHER_TABLE)(host); },
    show: async (host) => host.must("nft", ["list", "table", "ip", "other"]),
  },
  ipvs: {
    make: async (host) => { await host.must("ipvsadm", ["--restore"], `${OTHER_SERVICES.join("\n")}\n`); },
    show: async (host) => {
      const saved = await host.must("ipvsadm", ["--save", "-n"]);
      return saved.split("\n").filter((line) => OTHER_SERVICES.includes(line.trim())).join("\n");
    },
  },
};
