/**
 * Keeps true: what a machine gets at its boot is packed here, byte for byte the same for the same input.
 * In: names and contents. Out: an archive as the Linux kernel unpacks it ("newc"); archives may follow one another.
 * Rule: pure; folders come before what lies in them.
 */

export interface Packed {
  /** Without a leading slash. */
  readonly name: string;
  readonly mode: number;
  readonly content?: Uint8Array | string;
}

export const FOLDER = 0o040755;
export const FILE = 0o100644;
export const PROGRAM = 0o100755;

const hex = (value: number): string => value.toString(16).padStart(8, "0").toUpperCase();
const padded = (bytes: Buffer): Buffer => Buffer.concat([bytes, Buffer.alloc((4 - bytes.length % 4) % 4)]);

function entry({ name, mode, content = "" }: Packed, inode: number): Buffer {
  const body = Buffer.from(content as string);
  // Fields: inode, mode, uid, gid, links, time, size, four device numbers, length of the name with its zero, check sum.
  const fields = [inode, mode, 0, 0, 1, 0, body.length, 0, 0, 0, 0, Buffer.byteLength(name) + 1, 0].map(hex).join("");
  return Buffer.concat([padded(Buffer.from(`070701${fields}${name}\0`)), padded(body)]);
}

export function cpio(files: readonly Packed[]): Buffer {
  const packed = Buffer.concat([...files, { name: "TRAILER!!!", mode: 0 }].map((file, index) => entry(file, index + 1)));
  return Buffer.concat([packed, Buffer.alloc((512 - packed.length % 512) % 512)]);
}
