/** The words of nft, as recorded, and the transaction we write for it. */
import { describe, expect, it, test } from "@jest/globals";
import type { Json } from "../../src/sinks/nft-table/layout.ts";
import { parseTable } from "../../src/sinks/nft-table/parse.ts";
import { renderTable } from "../../src/sinks/nft-table/render.ts";
import { NETWORKS } from "./recorded-world.ts";
import { recordings } from "./recordings.ts";

describe.each(recordings("nftables", "table.json"))("recorded output of %s", (_version, text) => {
  const listing = JSON.parse(text) as { nftables: Record<string, Json>[] };
  const without = (index: number): Json => ({ nftables: listing.nftables.filter((_, at) => at !== index) });

  it("is read back whole", () => expect(parseTable(listing)).toEqual({ networks: NETWORKS, faults: [] }));

  it("shows the lack of any one object", () => {
    const objects = listing.nftables.map((object, index) => [Object.keys(object)[0], index] as const).filter(([kind]) => kind !== "metainfo");
    expect(objects.length).toBeGreaterThan(10);
    for (const [, index] of objects) expect(parseTable(without(index)).faults).not.toEqual([]);
  });

  it("shows any object twice or changed", () => {
    for (const rule of listing.nftables.filter((object) => "rule" in object)) {
      expect(parseTable({ nftables: [...listing.nftables, rule] }).faults).not.toEqual([]);
    }
  });
});

test.each(recordings("nftables", "no-table.txt"))("%s says in these words that there is no table", (_version, text) => {
  expect(text).toMatch(/^Error: No such file or directory$/m);
});

it("what is no listing is an empty table", () => {
  for (const document of [null, [], {}, "text", { nftables: 7 }, { nftables: [null, 7, {}] }]) {
    expect(parseTable(document as Json)).toEqual({ networks: [], faults: [] });
  }
});

it("a table is replaced in one transaction", () => expect(renderTable({ networks: NETWORKS.slice(0, 1) })).toBe(`table ip fnp
delete table ip fnp
table ip fnp {
	map entry {
		typeof iifname : verdict
		flags interval
		elements = { "fnp0002t*" : goto net-101, "flannel.101" : goto net-101 }
	}
	set links {
		typeof iifname
		flags interval
		elements = { "fnp0002t*", "flannel.101" }
	}
	set links-101 {
		typeof iifname
		flags interval
		elements = { "fnp0002t*", "flannel.101" }
	}
	chain net-101 {
		ip saddr 10.1.0.0/16 ip daddr 10.1.0.0/16 oifname @links-101 accept
		drop
	}
	chain isolate {
		type filter hook forward priority -10; policy accept;
		iifname vmap @entry
		oifname @links drop
	}
}
`));

it("no networks, no table", () => expect(renderTable({ networks: [] })).toBe("table ip fnp\ndelete table ip fnp\n"));
