import { createWriteStream, mkdirSync, renameSync, rmSync } from "node:fs";
import { join } from "node:path";
import { Readable } from "node:stream";
import { pipeline } from "node:stream/promises";
import { writeError } from "../export/write-error.ts";
import { syncFolder } from "../support/files.ts";

/** A file that a killed run has left, which the next run replaces. */
const PARTIAL = ".partial";

/**
 * Files of a folder that appear together, complete and on disk, or not at all. Only their owner may read them.
 * @throws PlinthError FILE_NOT_WRITABLE, DISK_FULL
 */
export class NewFiles implements AsyncDisposable {
  readonly #folder: string;
  readonly #signal: AbortSignal;
  readonly #names: string[] = [];

  /** @param signal deletes them at once when it is aborted, also while a statement is still running */
  constructor(folder: string, signal: AbortSignal) {
    this.#folder = folder;
    this.#signal = signal;
    signal.addEventListener("abort", this.#discard, { once: true });
    this.#try(folder, () => mkdirSync(folder, { recursive: true }));
  }

  /** Writes a file under another name. @returns its path for now */
  async write(name: string, chunks: AsyncIterable<string> | Iterable<string>): Promise<string> {
    const path = `${join(this.#folder, name)}${PARTIAL}`;
    this.#names.push(name);
    // In a folder of several users, another one's file or link of this name would show the content to its owner.
    this.#try(path, () => rmSync(path, { force: true }));
    let readError: unknown;
    const watched = async function* () {
      try {
        yield* chunks;
      } catch (error) {
        readError = error;
        throw error;
      }
    };
    try {
      await pipeline(
        Readable.from(watched()),
        createWriteStream(path, { flags: "wx", mode: 0o600, flush: true }),
        {
          signal: this.#signal,
        },
      );
    } catch (error) {
      this.#signal.throwIfAborted();
      throw readError ?? writeError(path, error);
    }
    return path;
  }

  /** Gives the files their names. @returns their paths */
  publish(): string[] {
    const paths = this.#names.splice(0).map((name) => {
      const path = join(this.#folder, name);
      this.#try(path, () => renameSync(`${path}${PARTIAL}`, path));
      return path;
    });
    syncFolder(this.#folder);
    return paths;
  }

  /** Deletes what was not published. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#signal.removeEventListener("abort", this.#discard);
    this.#discard();
  }

  readonly #discard = (): void => {
    for (const name of this.#names) rmSync(`${join(this.#folder, name)}${PARTIAL}`, { force: true });
  };

  #try(path: string, action: () => unknown): void {
    try {
      action();
    } catch (error) {
      throw writeError(path, error);
    }
  }
}
