import type { Logger } from "pino";
import type { Live } from "../live/index.ts";
import type { Notifier } from "../request/notifier.ts";

/** The topic of `private.announce_persisted_documents`. */
const TOPIC = "documents";
const RETRY_MS = 3_000;

/** The server's copy of the documents that the operator added. */
export interface AddedDocuments {
  get(hash: string): string | undefined;
  close(): void;
}

/**
 * Loads the documents, and reads changes when they are announced or an announcement may have been lost. Any database role may
 * announce, so an announcement only prompts a read; announcements during a reading share one further reading.
 * @throws the database's error when the first reading fails
 */
export async function loadAddedDocuments(options: {
  live: Pick<Live, "listen">;
  notifier: Pick<Notifier, "query">;
  logger: Logger;
}): Promise<AddedDocuments> {
  const { live, notifier, logger } = options;
  let texts: ReadonlyMap<string, string> = new Map();
  let isAsked = false;
  let reading: Promise<void> | undefined;
  let retry: NodeJS.Timeout | undefined;
  let isClosed = false;

  async function read(): Promise<void> {
    const rows = await notifier.query<{ hash: string; document: string | null }>(
      "select hash, document from private.list_persisted_documents($1)",
      [[...texts.keys()]],
    );
    texts = new Map(rows.map(({ hash, document }) => [hash, document ?? texts.get(hash)!]));
  }

  async function readWhileAsked(): Promise<void> {
    try {
      while (isAsked) {
        isAsked = false;
        await read();
      }
    } finally {
      reading = undefined;
    }
  }

  function readSoon(): Promise<void> {
    isAsked = true;
    reading ??= readWhileAsked();
    return reading;
  }

  function onNews(): void {
    if (isClosed) return;
    readSoon().catch((err: unknown) => {
      if (isClosed) return;
      logger.warn({ err }, "documents cannot be read");
      clearTimeout(retry);
      retry = setTimeout(onNews, RETRY_MS).unref();
    });
  }

  // Listens first, so that no addition falls between the two.
  const stopListening = live.listen(TOPIC, { onHint: onNews, onGap: onNews });
  try {
    await readSoon();
  } catch (error) {
    isClosed = true;
    stopListening();
    throw error;
  }
  return {
    get: (hash) => texts.get(hash),
    close() {
      isClosed = true;
      clearTimeout(retry);
      stopListening();
    },
  };
}
