/**
 * What the answering thread keeps for one sandbox.
 *
 * Rule: small, since there is one per container: what only some need is made when they need it.
 */
import { close } from "../libc.ts";
import type { AnswerCache } from "./cache.ts";
import type { Counter, OpenSockets, QueryLine, Report } from "./messages.ts";
import { COUNTERS, type Shared } from "./messages.ts";
import type { Question } from "./wire.ts";
import { textOfKey } from "./wire.ts";

export interface Home {
  readonly sandbox: string;
  readonly sockets: OpenSockets;
  cache: AnswerCache | undefined;
  watched: boolean;
}

/** Lines per second and process that a watcher gets; a busy container must not fill memory. */
const LINES_PER_SECOND = 1_000;

/** Counting, telling watchers, and remembering which files are ours to close. */
export class Ledger {
  readonly #shared: Shared;
  readonly #report: (report: Report) => void;
  readonly #index = new Map<Counter, number>(COUNTERS.map((name, at) => [name, at]));
  #second = 0;
  #lines = 0;
  #lost = 0;

  constructor(shared: Shared, report: (report: Report) => void) {
    this.#shared = shared;
    this.#report = report;
  }

  count(counter: Counter): void {
    const at = this.#index.get(counter) ?? 0;
    this.#shared.counters[at] = (this.#shared.counters[at] ?? 0) + 1;
  }

  /** The file was opened by this thread alone. */
  opened(fd: number): number {
    this.#shared.files[fd >> 3] = (this.#shared.files[fd >> 3] ?? 0) | (1 << (fd & 7));
    return fd;
  }

  close(fd: number): void {
    this.#shared.files[fd >> 3] = (this.#shared.files[fd >> 3] ?? 0) & ~(1 << (fd & 7));
    close(fd);
  }

  line({ sandbox, watched }: Home, question: Pick<Question, "key" | "type">, transport: QueryLine["transport"], outcome: string, via: QueryLine["via"]): void {
    if (!watched) return;
    const atMs = Date.now();
    const second = Math.floor(atMs / 1000);
    if (second !== this.#second) [this.#second, this.#lines] = [second, 0];
    if (this.#lines >= LINES_PER_SECOND) {
      this.#lost += 1;
      return;
    }
    this.#lines += 1;
    const name = textOfKey(question.key) ?? JSON.stringify(question.key);
    this.#report({ kind: "query", line: { sandbox, atMs, name, type: question.type, transport, outcome, via, lost: this.#lost } });
    this.#lost = 0;
  }
}
