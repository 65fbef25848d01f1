import type { ClientBase } from "pg";
import {
  type Callback,
  connectionOf,
  type DataRow,
  type PgConnection,
  Query,
  type RawRows,
} from "./node-pg.ts";

/**
 * Runs a command that answers with COPY data, such as BASE_BACKUP on a replication connection.
 * @param consume takes a message, whose bytes are valid during the call only; while its promise is pending, no more is read from
 *   the network
 * @returns the rows of all its ordinary results, in order
 */
export async function copyOut(
  client: ClientBase,
  text: string,
  consume: Consume,
  signal: AbortSignal,
): Promise<RawRows> {
  signal.throwIfAborted();
  const abort = () => connectionOf(client).stream.destroy();
  signal.addEventListener("abort", abort);
  try {
    return await new Promise<RawRows>((resolve, reject) => {
      const query = new CopyOutQuery(text, consume, (error) =>
        error ? reject(error) : resolve(query.results),
      );
      client.query(query as never);
    });
  } catch (error) {
    signal.throwIfAborted();
    throw error;
  } finally {
    signal.removeEventListener("abort", abort);
  }
}

type Consume = (message: Buffer) => Promise<void> | undefined;

class CopyOutQuery extends Query {
  readonly results: (string | null)[][] = [];
  readonly #consume: Consume;
  #failure: unknown;

  constructor(text: string, consume: Consume, callback: Callback) {
    super({ text }, undefined, (error) => callback(this.#failure ?? error));
    this.#consume = consume;
  }

  override handleDataRow({ fields }: DataRow): void {
    this.results.push(fields);
  }

  override handleCopyData({ chunk }: { readonly chunk: Buffer }, { stream }: PgConnection): void {
    const fail = (error: unknown) => {
      this.#failure ??= error;
      stream.destroy();
    };
    try {
      const busy = this.#failure === undefined ? this.#consume(chunk) : undefined;
      if (!busy) return;
      stream.pause();
      void busy.then(() => stream.resume(), fail);
    } catch (error) {
      fail(error);
    }
  }
}
