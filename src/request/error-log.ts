import { createHash } from "node:crypto";
import type { Logger } from "pino";
import { contextWithoutRequest } from "./context.ts";
import type { CallPrivateFunction } from "./service-caller.ts";

/** An unforeseen error, as reported to the client. */
export interface UnforeseenError {
  /** UUID; also the row's id. */
  readonly errorId: string;
  readonly error: unknown;
  readonly correlationId: string | undefined;
  readonly userId: string | undefined;
  /** Path in the response, by GraphQL names. */
  readonly path?: readonly (string | number)[] | undefined;
}

/** Stores unforeseen errors in security.error_logs. */
export interface ErrorLog {
  /** Queues the error and returns immediately; never throws. Beyond {@link CAPACITY} queued errors it only counts. */
  record(error: UnforeseenError): void;
  /** Writes the queued errors if the database responds soon, and stops. */
  close(): Promise<void>;
}

const CAPACITY = 1_000;
const BATCH = 100;
const FLUSH_AFTER_MS = 500;
/** Pause after a failure, because an outage usually lasts a while. */
const RETRY_AFTER_MS = 5_000;
const CLOSE_TIMEOUT_MS = 2_000;
const MAX_PATH_PARTS = 20;
const MAX_NAME_LENGTH = 100;
const MAX_MESSAGE_LENGTH = 500;

interface Row {
  readonly id: string;
  readonly user_id: string | undefined;
  readonly message: string;
  readonly code: string;
  readonly fingerprint: string | undefined;
  readonly context: Record<string, unknown>;
  readonly correlation_id: string | undefined;
  readonly happened_at: string;
}

/** An in-memory queue in front of `private.record_error`, so that no request waits for its error to be written. */
export function createErrorLog(options: {
  callPrivateFunction: CallPrivateFunction;
  logger: Logger;
  capacity?: number;
  flushAfterMs?: number;
}): ErrorLog {
  const { callPrivateFunction, logger, capacity = CAPACITY, flushAfterMs = FLUSH_AFTER_MS } = options;
  const context = contextWithoutRequest("error-log");
  const queue: Row[] = [];
  let dropped = 0;
  let timer: NodeJS.Timeout | undefined;
  let flushing: Promise<boolean> | undefined;
  let isClosed = false;

  /** Returns false when the database did not store them; they stay in the queue. */
  async function writeAll(): Promise<boolean> {
    while (queue.length > 0) {
      const batch = queue.slice(0, BATCH);
      try {
        await callPrivateFunction(
          context,
          `select private.record_error(
             e.id, e.user_id, e.message, e.code, e.fingerprint, e.context, e.correlation_id, e.happened_at
           )
           from jsonb_to_recordset($1::jsonb) as e (
             id uuid, user_id uuid, message text, code text, fingerprint text, context jsonb, correlation_id text,
             happened_at timestamptz
           )`,
          [JSON.stringify(batch)],
        );
        queue.splice(0, batch.length);
      } catch (err) {
        if (isRefused(err)) {
          // It would fail again and block the queue.
          queue.splice(0, batch.length);
          dropped += batch.length;
          continue;
        }
        logger.warn({ err, waiting: queue.length, dropped }, "errors cannot be written to the database now");
        return false;
      }
    }
    if (dropped > 0) logger.warn({ dropped }, "errors were dropped from the error log");
    dropped = 0;
    return true;
  }

  function flush(): Promise<boolean> {
    flushing ??= writeAll().finally(() => {
      flushing = undefined;
    });
    return flushing;
  }

  function schedule(delayMs: number): void {
    if (isClosed) return;
    timer ??= setTimeout(async () => {
      const done = await flush();
      timer = undefined;
      if (queue.length > 0) schedule(done ? flushAfterMs : RETRY_AFTER_MS);
    }, delayMs).unref();
  }

  return {
    record(error) {
      if (isClosed) return;
      if (queue.length >= capacity) {
        dropped += 1;
        return;
      }
      queue.push(describe(error));
      schedule(flushAfterMs);
    },
    async close() {
      isClosed = true;
      clearTimeout(timer);
      const { promise: late, resolve } = Promise.withResolvers<void>();
      const giveUp = setTimeout(resolve, CLOSE_TIMEOUT_MS);
      // A running flush may have missed the latest rows.
      await Promise.race([flush().then((done) => done && flush()), late]);
      clearTimeout(giveUp);
    },
  };
}

/** Whether the database cannot store this: bad data or a broken constraint (SQLSTATE classes 22 and 23). */
function isRefused(error: unknown): boolean {
  return /^2[23]...$/.test(String((error as { code?: unknown } | null)?.code));
}

function describe({ errorId, error, correlationId, userId, path }: UnforeseenError): Row {
  const isError = error instanceof Error;
  const { code, schema, table, column, constraint, routine } = (isError ? error : {}) as Record<
    string,
    unknown
  >;
  const type = isError ? error.name : typeof error;
  return {
    id: errorId,
    user_id: userId,
    message: withoutValues(isError ? error.message : ""),
    code: (typeof code === "string" && code ? code : type).slice(0, MAX_NAME_LENGTH) || "Error",
    fingerprint: isError ? fingerprint(error) : undefined,
    context: {
      type,
      ...names({ schema, table, column, constraint, routine }),
      ...(path && {
        path: path
          .slice(0, MAX_PATH_PARTS)
          .map((part) => (typeof part === "string" ? part.slice(0, MAX_NAME_LENGTH) : part)),
      }),
    },
    correlation_id: correlationId,
    happened_at: new Date().toISOString(),
  };
}

/** Names of database objects, which come from the schema, not from users. */
function names(all: Record<string, unknown>): Record<string, string> {
  return Object.fromEntries(
    Object.entries(all).filter((entry): entry is [string, string] => typeof entry[1] === "string"),
  );
}

/**
 * Removes possible personal data from a message: text in quotes, in parentheses or after an equals sign, addresses, numbers,
 * and words that look like a token or an id. The rest shows the kind of error.
 */
export function withoutValues(message: string): string {
  return message
    .slice(0, 20 * MAX_MESSAGE_LENGTH)
    .toWellFormed()
    .replaceAll("\0", "")
    .replace(/"[^"]*("|$)|'[^']*('|$)|`[^`]*(`|$)|“[^”]*(”|$)|\([^)]*(\)|$)/g, "…")
    .replace(/=\s*\S+/g, "=…")
    .replace(/\S*@\S*|\w+:\/\/\S+/g, "…")
    .replace(/\S*\d\S*/g, "…")
    .replace(/\S{24,}/g, "…")
    .slice(0, MAX_MESSAGE_LENGTH);
}

/** 64 bits of the SHA-256 of class and stack without message and line numbers, so that a deploy does not change it. */
function fingerprint({ name, message, stack = "" }: Error): string | undefined {
  const frames = stack
    .replace(message, "")
    .split("\n")
    .filter((line) => /^\s+at /.test(line))
    .map((line) =>
      line.replace(/^\s+at /, "").replace(/\(?(?:file:\/\/)?[^()\s]*\/([^/()\s:]+):\d+:\d+\)?$/, "$1"),
    );
  if (frames.length === 0) return undefined;
  return createHash("sha256")
    .update([name, ...frames].join("\n"))
    .digest("hex")
    .slice(0, 16);
}
