import { createHash } from "node:crypto";
import { createReadStream, createWriteStream } from "node:fs";
import { basename, join } from "node:path";
import { Readable } from "node:stream";
import { pipeline } from "node:stream/promises";
import { createZstdCompress, createZstdDecompress } from "node:zlib";
import { COMPRESSION, ENCRYPTED, findPacked, type Keys, packedEnding } from "../wal/packed.ts";
import { open, seal } from "../wal/sealed.ts";
import { damaged } from "./damage.ts";
import { baseFolder, type StoredFile } from "./records.ts";

// Files of base backups, which are too large for memory.

/** Writes a file of a backup and waits until it is on disk. */
export async function pack(
  source: AsyncIterable<Buffer>,
  folder: string,
  name: string,
  keys: Keys,
): Promise<StoredFile> {
  const [key] = keys;
  const stored = name + packedEnding(keys);
  const hash = createHash("sha256");
  let bytes = 0;
  await pipeline(
    source,
    createZstdCompress(COMPRESSION),
    (compressed: AsyncIterable<Buffer>) =>
      key ? seal(compressed, key, sealedName(folder, name)) : compressed,
    async function* (chunks: AsyncIterable<Buffer>) {
      for await (const chunk of chunks) {
        hash.update(chunk);
        bytes += chunk.length;
        yield chunk;
      }
    },
    createWriteStream(join(folder, stored), { mode: 0o600, flags: "wx", flush: true }),
  );
  return { name: stored, bytes, sha256: hash.digest("hex") };
}

/**
 * Reads a file of a backup. The stream fails with SealedFileError, or an error of zstd.
 * @param isSealed whether the file must be encrypted: otherwise any file could take its place
 */
export function unpack(folder: string, name: string, keys: Keys, isSealed: boolean): Readable {
  const path = findPacked(folder, name);
  if (!path) throw damaged(join(folder, name), "is missing");
  if (isSealed && !path.endsWith(ENCRYPTED)) throw damaged(path, "is not encrypted, but the backup is");
  const stored = createReadStream(path);
  const compressed = path.endsWith(ENCRYPTED)
    ? Readable.from(open(stored, keys, sealedName(folder, name)), { objectMode: false })
    : stored;
  const content = createZstdDecompress();
  void pipeline(compressed, content).catch((error) => content.destroy(error));
  return content;
}

/** Compares a stored file with what the backup says about it. @throws PlinthError BACKUP_DAMAGED */
export async function checkStored(folder: string, id: string, file: StoredFile): Promise<void> {
  const path = join(baseFolder(folder, id), file.name);
  const hash = createHash("sha256");
  let bytes = 0;
  try {
    for await (const chunk of createReadStream(path)) {
      hash.update(chunk);
      bytes += chunk.length;
    }
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") throw damaged(path, "is missing");
    throw error;
  }
  if (bytes < file.bytes) throw damaged(path, `is cut off: it has ${bytes} of ${file.bytes} bytes`);
  if (hash.digest("hex") !== file.sha256) throw damaged(path, "differs from its checksum");
}

/** With the backup's own name, so that files of two backups cannot be exchanged. */
function sealedName(folder: string, name: string): string {
  return `${basename(folder)}/${name}`;
}
