/**
 * Why etcd does not answer, asked of its endpoints themselves: gRPC says only that there is no connection.
 *
 * In:  endpoints and credentials; a failed call as a reason to ask.  Out: the best reason known at that moment.
 * Rule: nobody waits for it. A failure starts a look, the next failure is told what it saw; what a server says goes before what
 * TLS says, and that before a silent wire. Never a secret: only the certificate is shown to the server.
 */
import { request as plainly, type RequestOptions } from "node:http";
import { request as securely } from "node:https";

/** As short as a call's own deadline. */
const PATIENCE_MS = 2_500;
const FRESH_MS = 2_000;
/** Older than this it explains nothing any more. */
const STALE_MS = 15_000;

interface Access { readonly endpoints: readonly string[]; readonly ca?: string; readonly cert?: string; readonly key?: string }
interface Finding { readonly rank: 0 | 1 | 2 | 3; readonly reason?: string }
const WELL: Finding = { rank: 3 };

export function reasonsOf(access: Access, look: (endpoint: string, access: Access) => Promise<Finding> = healthOf): () => string | undefined {
  let seen: { readonly reason: string | undefined; readonly atMs: number } | undefined;
  let looking = false;
  const ask = async (): Promise<void> => {
    looking = true;
    const [best] = (await Promise.all(access.endpoints.map((endpoint) => look(endpoint, access)))).sort((a, b) => b.rank - a.rank);
    seen = { reason: best?.reason, atMs: performance.now() };
    looking = false;
  };
  return () => {
    const ageMs = seen === undefined ? Infinity : performance.now() - seen.atMs;
    if (!looking && ageMs > FRESH_MS) void ask();
    return ageMs > STALE_MS ? undefined : seen?.reason;
  };
}

/** `/health` is answered on the port of the clients, with and without authentication (etcd 3.4 to 3.6). */
function healthOf(endpoint: string, { ca, cert, key }: Access): Promise<Finding> {
  const secure = endpoint.startsWith("https://");
  const options: RequestOptions = { timeout: PATIENCE_MS, agent: false };
  return new Promise((resolve) => {
    const asked = secure
      ? securely(`${endpoint}/health`, { ...options, ...(ca === undefined ? {} : { ca }), ...(cert === undefined || key === undefined ? {} : { cert, key }) })
      : plainly(`${endpoint}/health`, options);
    asked.once("timeout", () => { asked.destroy(new Error(`${endpoint} is silent`)); });
    asked.once("error", (error: Error) => { resolve(failed(error.message, secure)); });
    asked.once("response", (response) => {
      let body = "";
      response.setEncoding("utf8").on("data", (chunk: string) => { body = (body + chunk).slice(0, 1_000); });
      response.once("error", () => { resolve({ rank: 0, reason: `${endpoint} is silent` }); });
      response.once("end", () => { resolve(said(body)); });
    });
    asked.end();
  });
}

function failed(message: string, secure: boolean): Finding {
  // A server of TLS hangs up on whoever does not speak it.
  if (!secure && /socket hang up|ECONNRESET/.test(message)) return { rank: 1, reason: "the server closes plain connections: it may speak TLS" };
  return { rank: /^(connect|getaddrinfo|read) |is silent$|socket hang up/.test(message) ? 0 : 1, reason: message };
}

/** `{"health":"false","reason":"RAFT NO LEADER"}`; a server that speaks TLS says so to whoever does not. */
export function said(body: string): Finding {
  if (/HTTP request to an HTTPS server/.test(body)) return { rank: 1, reason: "the server wants its clients to speak TLS" };
  const [, reason] = /"health": ?"false".*"reason": ?"([^"]*)"/.exec(body) ?? [];
  if (reason !== undefined) return { rank: 2, reason: `etcd says ${reason}` };
  return /"health": ?"false"/.test(body) ? { rank: 2, reason: "etcd says that it is not well, as a member without a leader does" } : WELL;
}
