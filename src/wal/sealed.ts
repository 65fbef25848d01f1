import { createCipheriv, createDecipheriv, hkdfSync, randomBytes } from "node:crypto";

/*
 * The format of an encrypted file: a header, then chunks of 64 KiB, each encrypted with AES-256-GCM and followed by its tag. The
 * nonce of a chunk is its number and a mark of the last one (the STREAM construction), so that chunks cannot be reordered, left
 * out or cut off unnoticed. Each file has a key of its own, derived from the backup key, a random salt and the file's name in the
 * backup, so that files cannot be exchanged for each other either.
 */

const MAGIC = Buffer.from("PLINTHB1");
const KEY_ID_BYTES = 8;
const SALT_BYTES = 16;
const HEADER_BYTES = MAGIC.length + KEY_ID_BYTES + SALT_BYTES;
const CHUNK_BYTES = 65_536;
const TAG_BYTES = 16;
const CIPHER = "aes-256-gcm";

export type Bytes = AsyncIterable<Buffer> | Iterable<Buffer>;

/** A file that cannot be decrypted. The message is the end of a sentence about the file. */
export class SealedFileError extends Error {
  readonly isWrongKey: boolean;

  constructor(message: string, isWrongKey = false) {
    super(message);
    this.isWrongKey = isWrongKey;
  }
}

/** Identifies a key without revealing it. */
function keyId(key: Uint8Array): Buffer {
  return Buffer.from(hkdfSync("sha256", key, "", "plinth backup key id", KEY_ID_BYTES));
}

/** @param name the file's name in the backup, which reading must give again */
export async function* seal(source: Bytes, key: Uint8Array, name: string): AsyncGenerator<Buffer> {
  const salt = randomBytes(SALT_BYTES);
  yield Buffer.concat([MAGIC, keyId(key), salt]);
  const fileKey = deriveKey(key, salt, name);
  for await (const { chunk, number, isLast } of inChunks(source, CHUNK_BYTES)) {
    const cipher = createCipheriv(CIPHER, fileKey, nonce(number, isLast), { authTagLength: TAG_BYTES });
    yield Buffer.concat([cipher.update(chunk), cipher.final(), cipher.getAuthTag()]);
  }
}

/**
 * @param keys any of which may have sealed the file
 * @throws SealedFileError if no key fits, or if the file is damaged, cut off, or another one under this name
 */
export async function* open(
  source: Bytes,
  keys: readonly Uint8Array[],
  name: string,
): AsyncGenerator<Buffer> {
  let fileKey: Buffer | undefined;
  for await (const { chunk, number, isLast } of inChunks(source, CHUNK_BYTES + TAG_BYTES, HEADER_BYTES)) {
    if (number < 0) {
      fileKey = keyOf(chunk, keys, name);
      if (isLast) throw new SealedFileError("is cut off");
      continue;
    }
    yield decrypt(chunk, fileKey!, number, isLast);
  }
}

function keyOf(header: Buffer, keys: readonly Uint8Array[], name: string): Buffer {
  if (header.length < HEADER_BYTES || !header.subarray(0, MAGIC.length).equals(MAGIC))
    throw new SealedFileError("is damaged or not an encrypted file of Plinth");
  const id = header.subarray(MAGIC.length, MAGIC.length + KEY_ID_BYTES);
  const key = keys.find((each) => keyId(each).equals(id));
  if (!key) throw new SealedFileError(`is encrypted with another key (id ${id.toString("hex")})`, true);
  return deriveKey(key, header.subarray(MAGIC.length + KEY_ID_BYTES), name);
}

function decrypt(chunk: Buffer, fileKey: Buffer, number: number, isLast: boolean): Buffer {
  const decipher = createDecipheriv(CIPHER, fileKey, nonce(number, isLast), { authTagLength: TAG_BYTES });
  try {
    decipher.setAuthTag(chunk.subarray(-TAG_BYTES));
    return Buffer.concat([decipher.update(chunk.subarray(0, -TAG_BYTES)), decipher.final()]);
  } catch {
    throw new SealedFileError(isLast ? "is damaged or cut off" : "is damaged");
  }
}

function deriveKey(key: Uint8Array, salt: Uint8Array, name: string): Buffer {
  return Buffer.from(hkdfSync("sha256", key, salt, `plinth backup file ${name}`, 32));
}

function nonce(number: number, isLast: boolean): Buffer {
  const bytes = Buffer.alloc(12);
  bytes.writeUIntBE(number, 5, 6);
  bytes[11] = isLast ? 1 : 0;
  return bytes;
}

interface Chunk {
  readonly chunk: Buffer;
  /** -1 for the header. */
  readonly number: number;
  readonly isLast: boolean;
}

/** Cuts a stream into chunks of one size, the last of which may be shorter or empty, after a header of another size. */
async function* inChunks(source: Bytes, size: number, headerSize = 0): AsyncGenerator<Chunk> {
  let parts: Buffer[] = [];
  let length = 0;
  let number = headerSize > 0 ? -1 : 0;
  for await (const part of source) {
    parts.push(part);
    length += part.length;
    for (let wanted = wantedSize(); length > wanted; wanted = wantedSize()) {
      // A single part is not copied: a WAL segment comes as one and is cut 256 times.
      const whole = parts.length === 1 ? parts[0]! : Buffer.concat(parts);
      yield { chunk: whole.subarray(0, wanted), number: number++, isLast: false };
      parts = [whole.subarray(wanted)];
      length -= wanted;
    }
  }
  yield { chunk: Buffer.concat(parts), number, isLast: true };

  function wantedSize(): number {
    return number < 0 ? headerSize : size;
  }
}
