/**
 * The first milliseconds of the process: its socket listens, then the program is read.
 *
 * Rule: nothing is imported but what opens the socket.
 */
import type * as Program from "./main.ts";
import { listenEarly, PLUGIN_SOCKET } from "./plugin/early.ts";

const early = await listenEarly(PLUGIN_SOCKET);
const { main } = await import(new URL("./main.ts", import.meta.url).href) as typeof Program;
await main(early);
