import { existsSync, readFileSync } from "node:fs";
import { basename, join } from "node:path";
import { constants, zstdCompressSync, zstdDecompressSync } from "node:zlib";
import { open, SealedFileError, seal } from "./sealed.ts";

/** A packed file is compressed with zstd, which adds a checksum, and then encrypted if there is a key. */
export const COMPRESSED = ".zst";
export const ENCRYPTED = ".zst.sealed";

export const COMPRESSION = { params: { [constants.ZSTD_c_checksumFlag]: 1 } };

/** A segment has 16 MB. More is not unpacked, because a small file may become one of any size. */
const MOST_BYTES = 32 * 1024 * 1024;

/** The first key encrypts, all decrypt. Without keys, files are not encrypted. */
export type Keys = readonly Uint8Array[];

export function packedEnding(keys: Keys): string {
  return keys.length > 0 ? ENCRYPTED : COMPRESSED;
}

/** Returns the path of the packed file with this name, whether encrypted or not; undefined if there is none. */
export function findPacked(folder: string, name: string): string | undefined {
  return [ENCRYPTED, COMPRESSED]
    .map((ending) => join(folder, name + ending))
    .find((path) => existsSync(path));
}

export async function packWhole(content: Buffer, keys: Keys, name: string): Promise<Buffer> {
  const compressed = zstdCompressSync(content, COMPRESSION);
  const [key] = keys;
  return key ? collect(seal([compressed], key, name)) : compressed;
}

/** @throws SealedFileError */
export async function unpackWhole(path: string, keys: Keys, name: string): Promise<Buffer> {
  const content = readFileSync(path);
  const compressed = basename(path).endsWith(ENCRYPTED)
    ? await collect(open([content], keys, name))
    : content;
  try {
    return zstdDecompressSync(compressed, { maxOutputLength: MOST_BYTES });
  } catch {
    throw new SealedFileError("is damaged or cut off");
  }
}

async function collect(source: AsyncIterable<Buffer>): Promise<Buffer> {
  const chunks: Buffer[] = [];
  for await (const chunk of source) chunks.push(chunk);
  return Buffer.concat(chunks);
}
