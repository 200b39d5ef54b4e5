/**
 * Keeps true: our DNS server alone can be put beside Docker's in the same container, and taken away again.
 * In: containers, by the files of their network namespaces. Out: their queries answered by us or by Docker; what our process costs.
 * Rule: the server runs as a program of its own (test/contract/dns-stand.ts): a benchmark never imports the product.
 */
import { spawn, execFile, type ChildProcess } from "node:child_process";
import { createInterface } from "node:readline";
import { join } from "node:path";
import { promisify } from "node:util";
import { LabError } from "../../lab/errors.ts";

const ROOT = join(import.meta.dirname, "../..");
const run = promisify(execFile);
const TABLE = "bench-dns";

/** Design D6: queries to 127.0.0.11:53 go to our port, answers come from 53, without state. */
const takeOver = (port: number): string => `table ip ${TABLE} {
  chain out { type filter hook output priority -300;
    ip daddr 127.0.0.11 ip saddr != 127.0.0.33 udp dport 53 notrack udp dport set ${port}
    ip daddr 127.0.0.11 ip saddr != 127.0.0.33 tcp dport 53 notrack tcp dport set ${port}
    ip saddr 127.0.0.11 udp sport ${port} notrack udp sport set 53
    ip saddr 127.0.0.11 tcp sport ${port} notrack tcp sport set 53
  }
}
`;

export class Stand {
  readonly #child: ChildProcess;
  readonly #lines: AsyncIterator<string>;
  readonly #ports = new Map<string, number>();

  constructor(names: number) {
    this.#child = spawn(join(ROOT, "node_modules/.bin/tsx"), ["test/contract/dns-stand.ts", String(names)], { cwd: ROOT, stdio: ["pipe", "pipe", "inherit"] });
    if (this.#child.stdout === null) throw new LabError("Cannot start the DNS server", "repeat the command");
    this.#lines = createInterface({ input: this.#child.stdout })[Symbol.asyncIterator]();
  }

  /** tsx starts the program as its child. */
  get pid(): number { return this.#child.pid ?? 0; }

  async tell(order: Readonly<Record<string, unknown>>): Promise<{ readonly port?: number; readonly rssKib?: number }> {
    this.#child.stdin?.write(`${JSON.stringify(order)}\n`);
    const { value, done } = await this.#lines.next();
    if (done === true) throw new LabError("Cannot measure our DNS server: it ended", "its reason is above");
    return JSON.parse(value) as { port?: number };
  }

  async open(netns: string): Promise<void> {
    const { port } = await this.tell({ open: netns });
    this.#ports.set(netns, port ?? 0);
  }

  /** From now on `ours` or Docker's server answers in these containers. */
  async answers(who: "ours" | "docker", places: readonly string[]): Promise<void> {
    for (const netns of places) {
      await nft(netns, `table ip ${TABLE}\ndelete table ip ${TABLE}\n${who === "ours" ? takeOver(this.#ports.get(netns) ?? 0) : ""}`);
    }
  }

  async stop(): Promise<void> {
    for (const netns of this.#ports.keys()) await nft(netns, `table ip ${TABLE}\ndelete table ip ${TABLE}\n`).catch(() => undefined);
    const gone = new Promise((done) => { this.#child.once("exit", done); });
    this.#child.stdin?.end();
    await gone;
  }
}

function nft(netns: string, script: string): Promise<unknown> {
  const running = run("nsenter", [`--net=${netns}`, "--", "nft", "-f", "-"]);
  running.child.stdin?.end(script);
  return running;
}
