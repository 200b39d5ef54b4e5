/**
 * Entry of the command line: joins the program to this process.
 *
 * Rule: a reader that has seen enough (`| head`) ends us quietly.
 */
import { PLACES } from "./target.ts";
import { run } from "./program.ts";

process.stdout.on("error", (error: NodeJS.ErrnoException) => { process.exit(error.code === "EPIPE" ? 0 : 2); });

process.exitCode = await run(process.argv.slice(2), {
  out: (text) => { process.stdout.write(text); },
  err: (text) => { process.stderr.write(text); },
  now: () => Date.now(),
  places: PLACES,
});
