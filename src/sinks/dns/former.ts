/**
 * Docker's own view of our networks, where it is out of date (design D5).
 *
 * In:  what Docker's resolver said, and the asker's table.  Out: whether it knows a container of ours by a name that is not its own any more.
 * Rule: pure. Docker 28 keeps the name with which a container was connected, whatever `docker rename` says. An address that no table
 *       has yet is believed: Docker hears of a new container before us. Names that somebody else's server may hold are never touched.
 */
import { fromNumber, type Ipv4 } from "../../core/ids.ts";
import { ELSEWHERE, lookup, type LookupTable } from "./lookup.ts";
import type { DnsSandbox } from "./vocabulary.ts";
import { CLASS_IN, HEADER_BYTES, RCODE, skipName, TYPE } from "./wire.ts";

/** Of Docker's own answers, and hardly of another's. */
export const DOCKERS_TTL_SECONDS = 600;

/** `name`: lower case. */
export function isFormerName(table: LookupTable, sandbox: DnsSandbox, name: string, message: Buffer, length: number): boolean {
  const own = sandbox.zones.flatMap((network) => table.zones.get(network) ?? []);
  if (name.includes(".") && !own.some((zone) => name.endsWith(`.${zone.name}`))) return false;
  const addresses = addressesByDocker(message, length);
  const known = addresses.length > 0 && addresses.every((address) => own.some(({ pointers }) => pointers.has(address)));
  // The table may have learned the name while the question was on its way.
  return known && lookup(table, sandbox, name) === ELSEWHERE;
}

/** None unless every answer is an address with Docker's time to live. */
function addressesByDocker(message: Buffer, length: number): readonly Ipv4[] {
  if (((message[3] ?? 0) & 0x0f) !== RCODE.NOERROR || message.readUInt16BE(4) !== 1) return [];
  let at = skipName(message, HEADER_BYTES, length) + 4;
  const found: Ipv4[] = [];
  for (let count = message.readUInt16BE(6); count > 0; count -= 1) {
    const fields = at < HEADER_BYTES + 4 ? -1 : skipName(message, at, length);
    if (fields < 0 || fields + 14 > length) return [];
    const docker = message.readUInt16BE(fields) === TYPE.A && message.readUInt16BE(fields + 2) === CLASS_IN
      && message.readUInt32BE(fields + 4) === DOCKERS_TTL_SECONDS && message.readUInt16BE(fields + 8) === 4;
    if (!docker) return [];
    found.push(fromNumber(message.readUInt32BE(fields + 10)));
    at = fields + 14;
  }
  return found;
}
