import type { Readable } from "node:stream";

/** An entry of a tar archive. Its content must be read before the next entry. */
export interface TarEntry {
  readonly path: string;
  readonly kind: "file" | "folder" | "link";
  readonly bytes: number;
  content(): AsyncGenerator<Buffer>;
}

const BLOCK = 512;

/** Reads the archives that PostgreSQL writes: ustar, with octal sizes (all its files are below 8 GB) and names up to 100 characters. */
export async function* readTar(source: Readable): AsyncGenerator<TarEntry> {
  const input = new Input(source);
  for (;;) {
    const header = await input.read(BLOCK);
    if (!header || header.every((byte) => byte === 0)) break;
    const bytes = Number.parseInt(textAt(header, 124, 12), 8) || 0;
    let left = bytes;
    const kind = { "5": "folder", "2": "link" } as const;
    yield {
      path: textAt(header, 0, 100),
      kind: kind[String.fromCharCode(header[156]!) as "5" | "2"] ?? "file",
      bytes,
      async *content() {
        while (left > 0) {
          const part = await input.readSome(left);
          if (!part) throw new Error("The archive ends within a file.");
          left -= part.length;
          yield part;
        }
      },
    };
    for (let skip = left + ((BLOCK - (bytes % BLOCK)) % BLOCK); skip > 0; ) {
      const part = await input.readSome(skip);
      if (!part) throw new Error("The archive ends within a file.");
      skip -= part.length;
    }
  }
  // Reads the rest, so that damage at the end of the compressed stream is noticed.
  while (await input.readSome(BLOCK * BLOCK));
}

function textAt(header: Buffer, start: number, length: number): string {
  const field = header.subarray(start, start + length);
  const end = field.indexOf(0);
  return field.toString("utf8", 0, end < 0 ? length : end).trim();
}

class Input {
  readonly #parts: AsyncIterator<Buffer>;
  #rest: Buffer = Buffer.alloc(0);

  constructor(source: Readable) {
    this.#parts = source[Symbol.asyncIterator]();
  }

  /** Returns 1 to `most` bytes; undefined at the end. */
  async readSome(most: number): Promise<Buffer | undefined> {
    while (this.#rest.length === 0) {
      const { value, done } = await this.#parts.next();
      if (done) return undefined;
      this.#rest = value;
    }
    const part = this.#rest.subarray(0, most);
    this.#rest = this.#rest.subarray(part.length);
    return part;
  }

  async read(length: number): Promise<Buffer | undefined> {
    const parts: Buffer[] = [];
    for (let left = length; left > 0; ) {
      const part = await this.readSome(left);
      if (!part) return undefined;
      parts.push(part);
      left -= part.length;
    }
    return Buffer.concat(parts);
  }
}
