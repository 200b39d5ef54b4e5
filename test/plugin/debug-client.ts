/** Calls of the debug endpoint as a client makes them. */
import { request, type IncomingMessage } from "node:http";

export interface Place { readonly socketPath?: string; readonly host?: string; readonly port?: number; readonly headers?: Readonly<Record<string, string>> }
export const open = (method: string, url: string, place: Place): Promise<IncomingMessage> =>
  new Promise((resolve, reject) => { request({ method, path: url, ...place }, resolve).on("error", reject).end(); });

export async function ask(method: string, url: string, place: Place): Promise<{ readonly status: number; readonly text: string; readonly json: unknown }> {
  const response = await open(method, url, place);
  let text = "";
  for await (const chunk of response) text += String(chunk);
  return { status: response.statusCode ?? 0, text, json: response.headers["content-type"] === "application/json" ? JSON.parse(text) : undefined };
}

export async function until(condition: () => boolean): Promise<void> {
  for (const end = Date.now() + 20_000; !condition();) {
    if (Date.now() > end) throw new Error(`Not so within 20 s: ${condition.toString()}`);
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}
