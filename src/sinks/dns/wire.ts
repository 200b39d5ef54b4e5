/**
 * The bytes of a DNS question (RFC 1035 §4): what is asked, and whether it may be answered at all.
 *
 * In:  bytes from a container, which may be anything.  Out: a verdict, and the fields of the question in an object that is used again.
 * Rule: never throws, reads each byte at most once, follows no pointer: a question's name has nothing before it to point to.
 */

export const TYPE = { A: 1, SOA: 6, PTR: 12, HINFO: 13, TXT: 16, SRV: 33, OPT: 41, ANY: 255 } as const;
export const CLASS_IN = 1;
export const CLASS_ANY = 255;
export const RCODE = { NOERROR: 0, FORMERR: 1, SERVFAIL: 2, NXDOMAIN: 3, NOTIMP: 4, BADVERS: 16 } as const;
export const HEADER_BYTES = 12;
/** Without EDNS0 an answer by UDP has this room (RFC 1035 §4.2.1). */
export const PLAIN_BYTES = 512;
/** What we promise to take, and the most we send by UDP; loopback does not fragment below it. */
export const EDNS_BYTES = 4096;
const MAX_NAME_BYTES = 255;
const MAX_LABEL_BYTES = 63;

/** ask: answer it. drop: no answer is right. The others: answer with that code. */
export type Verdict = "ask" | "drop" | "formerr" | "notimp" | "badvers";

export class Question {
  /** The name as it stands in the message, lower case, without the root's zero: length bytes and labels, one character per byte. */
  key = "";
  type = 0;
  class = 0;
  /** First byte after the question. */
  end = 0;
  /** 0 without EDNS0, else the payload the client takes. */
  ednsBytes = 0;
  dnssecOk = false;
  /** An OPT record with options, or records beside it: more than we would keep an answer for. */
  unusual = false;
}

const scratch = Buffer.allocUnsafeSlow(MAX_NAME_BYTES + 1);

export function readQuestion(bytes: Buffer, start: number, end: number, into: Question): Verdict {
  if (end - start < HEADER_BYTES) return "drop";
  const flags = bytes.readUInt16BE(start + 2);
  if ((flags & 0x8000) !== 0) return "drop";
  into.end = start + HEADER_BYTES;
  into.ednsBytes = 0;
  into.dnssecOk = false;
  if ((flags & 0x7800) !== 0) return "notimp";
  // RFC 9619: a query has one question.
  if (bytes.readUInt16BE(start + 4) !== 1) return "formerr";
  const after = readName(bytes, start + HEADER_BYTES, end, into);
  if (after < 0 || after + 4 > end) return "formerr";
  into.type = bytes.readUInt16BE(after);
  into.class = bytes.readUInt16BE(after + 2);
  into.end = after + 4;
  const others = bytes.readUInt16BE(start + 6) + bytes.readUInt16BE(start + 8);
  const additional = bytes.readUInt16BE(start + 10);
  into.unusual = others > 0;
  return others + additional === 0 ? "ask" : readRecords(bytes, others, additional, end, into);
}

/** Position after the name, below zero when it is none. */
function readName(bytes: Buffer, start: number, end: number, into: Question): number {
  let at = start;
  let length = 0;
  while (at < end) {
    const label = bytes[at] ?? 0;
    if (label === 0) {
      into.key = scratch.toString("latin1", 0, length);
      return at + 1;
    }
    const next = at + 1 + label;
    if (label > MAX_LABEL_BYTES || next >= end || length + label + 2 > MAX_NAME_BYTES) return -1;
    scratch[length++] = label;
    for (at += 1; at < next; at += 1) {
      const byte = bytes[at] ?? 0;
      scratch[length++] = byte >= 65 && byte <= 90 ? byte + 32 : byte;
    }
  }
  return -1;
}

/** Records after the question: only OPT means something to us (RFC 6891 §6.1.1: one at most). */
function readRecords(bytes: Buffer, others: number, additional: number, end: number, into: Question): Verdict {
  let at = into.end;
  let found = false;
  let version = 0;
  for (let record = 0; record < others + additional; record += 1) {
    const fields = skipName(bytes, at, end);
    if (fields < 0 || fields + 10 > end) return "formerr";
    const next = fields + 10 + bytes.readUInt16BE(fields + 8);
    if (next > end) return "formerr";
    if (bytes.readUInt16BE(fields) === TYPE.OPT) {
      if (found || record < others || fields !== at + 1) return "formerr";
      found = true;
      version = bytes[fields + 5] ?? 0;
      into.ednsBytes = Math.max(PLAIN_BYTES, bytes.readUInt16BE(fields + 2));
      into.dnssecOk = ((bytes[fields + 6] ?? 0) & 0x80) !== 0;
      if (next > fields + 10) into.unusual = true;
    } else {
      into.unusual = true;
    }
    at = next;
  }
  return version === 0 ? "ask" : "badvers";
}

/** Position after a name that may end in a pointer, which is not followed; below zero when it is none. */
export function skipName(bytes: Buffer, start: number, end: number): number {
  let at = start;
  while (at < end) {
    const label = bytes[at] ?? 0;
    if (label === 0) return at + 1;
    if (label >= 0xc0) return at + 2 <= end ? at + 2 : -1;
    if (label > MAX_LABEL_BYTES) return -1;
    at += 1 + label;
  }
  return -1;
}

/** The name of a key as text, one character per byte; undefined when a label holds a dot or a NUL, so that no text means it. */
export function textOfKey(key: string): string | undefined {
  const labels: string[] = [];
  for (let at = 0; at < key.length;) {
    const length = key.charCodeAt(at);
    const label = key.slice(at + 1, at + 1 + length);
    if (label.includes(".") || label.includes("\0")) return undefined;
    labels.push(label);
    at += 1 + length;
  }
  return labels.join(".");
}

/** How names of the table are spelled for a lookup: lower case, one character per byte of UTF-8. */
export function wireText(name: string): string {
  const lower = name.toLowerCase();
  // Almost every name is plain: no copy then.
  return /^[\x20-\x7e]*$/.test(lower) ? lower : Buffer.from(lower, "utf8").toString("latin1");
}

/** Header of an answer: RA set, AA clear as Docker's, RD and CD as asked. */
export function writeHeader(query: Buffer, start: number, out: Buffer, at: number, rcode: number): void {
  out[at] = query[start] ?? 0;
  out[at + 1] = query[start + 1] ?? 0;
  out[at + 2] = 0x80 | ((query[start + 2] ?? 0) & 0x79);
  out[at + 3] = 0x80 | ((query[start + 3] ?? 0) & 0x10) | (rcode & 0x0f);
  out.fill(0, at + 4, at + HEADER_BYTES);
}

/** OPT of ours; the code's upper bits live in it. Returns the position after it. */
export function writeOpt(out: Buffer, at: number, rcode: number, dnssecOk: boolean): number {
  out[at] = 0;
  out.writeUInt16BE(TYPE.OPT, at + 1);
  out.writeUInt16BE(EDNS_BYTES, at + 3);
  out[at + 5] = rcode >> 4;
  out[at + 6] = 0;
  out.writeUInt16BE(dnssecOk ? 0x8000 : 0, at + 7);
  out.writeUInt16BE(0, at + 9);
  return at + OPT_BYTES;
}
export const OPT_BYTES = 11;
