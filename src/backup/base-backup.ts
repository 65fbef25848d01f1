import { once } from "node:events";
import { PassThrough } from "node:stream";
import pg from "pg";
import { copyOut } from "../request/pg-internals/copy-out.ts";
import type { RawRows } from "../request/pg-internals/node-pg.ts";
import { PlinthError } from "../support/errors.ts";
import type { Keys } from "../wal/packed.ts";
import { pack } from "./packed-stream.ts";
import type { StoredFile } from "./records.ts";
import type { Lsn } from "./wal-names.ts";

export interface BaseBackupOptions {
  /** A superuser's connection. */
  readonly url: string;
  readonly label: string;
  /** An existing, empty folder. */
  readonly folder: string;
  readonly keys: Keys;
  readonly maxRateKb?: number | undefined;
  readonly signal: AbortSignal;
  readonly onProgress: (doneBytes: number) => void;
  /** Called with what the server reports, such as that it waits for the archive. */
  readonly onNotice: (message: string) => void;
}

export interface BaseBackup {
  readonly systemIdentifier: string;
  readonly timeline: number;
  readonly startLsn: Lsn;
  readonly endLsn: Lsn;
  readonly files: readonly StoredFile[];
}

/**
 * Takes a base backup with the replication protocol's BASE_BACKUP, which pg_basebackup uses too. The server itself decides which
 * files belong to it, checks the checksums of their pages, and sends them as a tar archive with a manifest. It returns when the
 * WAL that the backup needs is archived.
 */
export async function takeBaseBackup(options: BaseBackupOptions): Promise<BaseBackup> {
  const { url, label, maxRateKb, signal, onNotice } = options;
  const client = new pg.Client({ connectionString: url, replication: "true" } as pg.ClientConfig);
  client.on("error", () => {});
  client.on("notice", ({ message }) => onNotice(String(message)));
  await client.connect();
  try {
    const { rows } = await client.query<{ systemid: string }>("IDENTIFY_SYSTEM");
    const received = new Received(options);
    const parts = [
      `LABEL ${pg.escapeLiteral(label)}`,
      "PROGRESS true",
      "CHECKPOINT 'fast'",
      "MANIFEST 'yes'",
      "MANIFEST_CHECKSUMS 'SHA256'",
      ...(maxRateKb === undefined ? [] : [`MAX_RATE ${maxRateKb}`]),
    ];
    const results = await copyOut(
      client,
      `BASE_BACKUP (${parts.join(", ")})`,
      (message) => received.take(message),
      signal,
    ).catch(async (error) => {
      await received.abandon();
      throw error;
    });
    return { systemIdentifier: rows[0]!.systemid, ...positions(results), files: await received.finish() };
  } finally {
    await client.end().catch(() => {});
  }
}

/** The results are the start of the backup, a row for each tablespace, and the end of the backup. */
function positions(results: RawRows): Pick<BaseBackup, "timeline" | "startLsn" | "endLsn"> {
  const [start, ...rest] = results;
  const end = rest.pop();
  return { timeline: Number(start![1]), startLsn: start![0]!, endLsn: end![0]! };
}

/** The messages of BASE_BACKUP: the type in the first byte, then its content. */
class Received {
  readonly #options: BaseBackupOptions;
  readonly #writing: Promise<StoredFile>[] = [];
  #current: PassThrough | undefined;
  #draining: Promise<void> | undefined;

  constructor(options: BaseBackupOptions) {
    this.#options = options;
  }

  take(message: Buffer): Promise<void> | undefined {
    const content = message.subarray(1);
    switch (String.fromCharCode(message[0]!)) {
      case "n":
        this.#startArchive(content);
        return undefined;
      case "m":
        this.#start("backup_manifest");
        return undefined;
      case "d":
        return this.#write(content);
      case "p":
        this.#options.onProgress(Number(content.readBigInt64BE()));
        return undefined;
      default:
        throw new Error(`BASE_BACKUP sent a message of type ${message[0]}`);
    }
  }

  async finish(): Promise<StoredFile[]> {
    this.#current?.end();
    return Promise.all(this.#writing);
  }

  async abandon(): Promise<void> {
    this.#current?.destroy();
    await Promise.allSettled(this.#writing);
  }

  #startArchive(content: Buffer): void {
    const [name = "", tablespace] = content.toString("utf8").split("\0");
    if (tablespace)
      throw new PlinthError("BACKUP_TABLESPACES", `The database has a tablespace in ${tablespace}.`, {
        hint: "plinth backup does not back up tablespaces: move its tables back (alter table … set tablespace pg_default).",
      });
    this.#start(name);
  }

  #start(name: string): void {
    this.#current?.end();
    const stream = new PassThrough();
    this.#current = stream;
    const writing = pack(stream, this.#options.folder, name, this.#options.keys);
    // A failure, such as a full disk, reaches the network side as an error of this stream.
    stream.on("error", () => {});
    writing.catch((error) => stream.destroy(error));
    this.#writing.push(writing);
  }

  /** The network's buffer is reused, so the content is copied. */
  #write(content: Buffer): Promise<void> | undefined {
    const stream = this.#current!;
    if (stream.errored) throw stream.errored;
    if (stream.write(Buffer.from(content))) return undefined;
    this.#draining ??= once(stream, "drain").then(() => {
      this.#draining = undefined;
    });
    return this.#draining;
  }
}
