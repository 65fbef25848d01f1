import { createHash, type Hash } from "node:crypto";
import { createReadStream, createWriteStream, existsSync, renameSync, rmSync } from "node:fs";
import { dirname, join } from "node:path";
import { PassThrough, Readable, Transform } from "node:stream";
import { pipeline } from "node:stream/promises";
import { StringDecoder } from "node:string_decoder";
import { createGunzip, createGzip } from "node:zlib";
import { PlinthError } from "../support/errors.ts";
import { syncFolder } from "../support/files.ts";
import { open, SealedFileError, seal } from "../wal/sealed.ts";

/** The place of an archive's file. */
export interface ArchiveFile {
  readonly directory: string;
  /** Also authenticates the parts of an encrypted file, so that no file can pass for another. */
  readonly name: string;
  /** The first encrypts, all decrypt; none for a file that is not encrypted. */
  readonly keys: readonly Buffer[];
}

export interface FileSummary {
  readonly bytes: number;
  /** SHA-256 of the file. */
  readonly sha256: string;
  /** SHA-256 of the lines, before compression. */
  readonly contentSha256: string;
  readonly rows: number;
}

/** A file that a killed run has left. */
export const PARTIAL = ".partial";

/** Creates a file that contains the lines, complete and on disk, or none. An existing file is replaced. */
export async function writeArchive(file: ArchiveFile, lines: AsyncIterable<string>): Promise<FileSummary> {
  const path = join(file.directory, file.name);
  const content = tally();
  const whole = tally();
  try {
    await pipeline(
      Readable.from(withEnds(lines)),
      content.stream,
      createGzip(),
      sealing(file),
      whole.stream,
      // `flush` waits for the disk before the file is closed.
      createWriteStream(`${path}${PARTIAL}`, { mode: 0o600, flush: true }),
    );
  } catch (error) {
    // It may be what fills the disk.
    rmSync(`${path}${PARTIAL}`, { force: true });
    throw error;
  }
  renameSync(`${path}${PARTIAL}`, path);
  syncFolder(dirname(path));
  return summary(content, whole);
}

/**
 * Yields the lines of a file, and returns its summary at the end.
 * @throws PlinthError ARCHIVE_MISSING, ARCHIVE_DAMAGED, BACKUP_KEY_WRONG
 */
export async function* readArchive(file: ArchiveFile): AsyncGenerator<string, FileSummary> {
  const path = existing(file);
  const content = tally();
  const whole = tally();
  const read = pipeline(createReadStream(path), whole.stream, opening(file), createGunzip(), content.stream);
  // The loop below reports a failed stream without its reason; `read` has it.
  read.catch(() => {});
  yield* linesOf(content.stream);
  try {
    await read;
  } catch (error) {
    if (error instanceof SealedFileError && error.isWrongKey)
      throw new PlinthError("BACKUP_KEY_WRONG", `${path} ${error.message}.`, {
        hint: "Set PLINTH_BACKUP_KEY to the key that encrypted the archive; several are separated by commas.",
      });
    throw new PlinthError("ARCHIVE_DAMAGED", `${path} is damaged: ${(error as Error).message}.`, {
      hint: "Restore it from a copy.",
      cause: error,
    });
  }
  return summary(content, whole);
}

/** Returns the SHA-256 of a file. @throws PlinthError ARCHIVE_MISSING */
export async function checksumOf(file: Pick<ArchiveFile, "directory" | "name">): Promise<string> {
  const hash = createHash("sha256");
  await pipeline(createReadStream(existing(file)), hash);
  return hash.digest("hex");
}

function existing({ directory, name }: Pick<ArchiveFile, "directory" | "name">): string {
  const path = join(directory, name);
  if (existsSync(path)) return path;
  throw new PlinthError("ARCHIVE_MISSING", `${path} does not exist.`, {
    hint: "Copy the file there, or set PLINTH_ARCHIVES to the folder that has it.",
  });
}

const unchanged = () => new PassThrough();

function sealing({ keys: [key], name }: ArchiveFile) {
  return key ? (source: AsyncIterable<Buffer>) => seal(source, key, name) : unchanged();
}

function opening({ keys, name }: ArchiveFile) {
  return keys.length > 0 ? (source: AsyncIterable<Buffer>) => open(source, keys, name) : unchanged();
}

/** Reads a whole file and returns its summary. */
export async function examineArchive(file: ArchiveFile): Promise<FileSummary> {
  const lines = readArchive(file);
  for (;;) {
    const { done, value } = await lines.next();
    if (done) return value;
  }
}

async function* withEnds(lines: AsyncIterable<string>): AsyncGenerator<string> {
  for await (const line of lines) yield `${line}\n`;
}

/** Ends early if the stream fails. */
async function* linesOf(stream: Readable): AsyncGenerator<string> {
  const decoder = new StringDecoder("utf8");
  let rest = "";
  try {
    for await (const chunk of stream) {
      const lines = (rest + decoder.write(chunk)).split("\n");
      rest = lines.pop()!;
      yield* lines;
    }
  } catch {
    // See the caller.
  }
}

interface Tally {
  readonly stream: Transform;
  readonly hash: Hash;
  bytes: number;
  lines: number;
}

const NEWLINE = 10;

/** Counts and hashes the bytes that pass. */
function tally(): Tally {
  const counts: Tally = {
    hash: createHash("sha256"),
    bytes: 0,
    lines: 0,
    stream: new Transform({
      transform(chunk: Buffer, _encoding, done) {
        counts.hash.update(chunk);
        counts.bytes += chunk.length;
        for (let at = chunk.indexOf(NEWLINE); at !== -1; at = chunk.indexOf(NEWLINE, at + 1))
          counts.lines += 1;
        done(null, chunk);
      },
    }),
  };
  return counts;
}

function summary(content: Tally, whole: Tally): FileSummary {
  return {
    bytes: whole.bytes,
    sha256: whole.hash.digest("hex"),
    contentSha256: content.hash.digest("hex"),
    rows: content.lines,
  };
}
