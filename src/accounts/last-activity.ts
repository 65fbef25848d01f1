import type { Logger } from "pino";
import { type Claims, isApiToken } from "../auth/api-token.ts";
import { contextWithoutRequest } from "../request/context.ts";
import type { CallPrivateFunction } from "../request/service-caller.ts";

export interface Activity {
  /** Notes the use of a session or API token. In memory only; failures to write it never affect the request. */
  note(claims: Claims, clientIp: string | undefined): void;
  /** Writes the pending notes and stops. */
  close(): Promise<void>;
}

const FLUSH_INTERVAL_MS = 5_000;
/** Minimum interval between two writes for one session or token. */
const WRITE_INTERVAL_MS = 60_000;
/** Maximum notes kept between two writes; further ones are dropped. */
const MAX_NOTES = 10_000;

interface Note {
  readonly at: number;
  readonly ip: string | undefined;
}

/** The uses of sessions or of API tokens, by id. */
class Uses {
  readonly statement: string;
  readonly #noted = new Map<string, Note>();
  /** Time of each id's last write, oldest first. */
  readonly #written = new Map<string, number>();

  constructor(statement: string) {
    this.statement = statement;
  }

  note(id: string, note: Note): void {
    const writtenAt = this.#written.get(id);
    if (writtenAt !== undefined && note.at - writtenAt < WRITE_INTERVAL_MS) return;
    if (this.#noted.size < MAX_NOTES || this.#noted.has(id)) this.#noted.set(id, note);
  }

  /** Returns the pending notes as the statement's parameters; undefined when there are none. */
  take(now: number): [string[], Date[], (string | null)[]] | undefined {
    for (const [id, at] of this.#written) {
      if (now - at < WRITE_INTERVAL_MS) break;
      this.#written.delete(id);
    }
    if (this.#noted.size === 0) return undefined;
    const notes = [...this.#noted];
    this.#noted.clear();
    for (const [id] of notes) {
      this.#written.delete(id);
      this.#written.set(id, now);
    }
    return [
      notes.map(([id]) => id),
      notes.map(([, { at }]) => new Date(at)),
      notes.map(([, { ip }]) => ip ?? null),
    ];
  }
}

/**
 * Writes when sessions and API tokens were last used: every few seconds, in one statement per kind, each id at most once a
 * minute. The SQL functions enforce that minute across servers. A failed write is logged and its notes are lost.
 */
export function startActivity(options: {
  callPrivateFunction: CallPrivateFunction;
  logger: Logger;
  flushIntervalMs?: number;
}): Activity {
  const { callPrivateFunction, logger, flushIntervalMs = FLUSH_INTERVAL_MS } = options;
  const sessions = new Uses("select private.touch_sessions($1::uuid[], $2::timestamptz[], $3::inet[])");
  const apiTokens = new Uses("select private.touch_api_tokens($1::uuid[], $2::timestamptz[], $3::inet[])");
  let flushing: Promise<void> | undefined;

  async function flush(): Promise<void> {
    for (const uses of [sessions, apiTokens]) {
      const values = uses.take(Date.now());
      if (!values) continue;
      const request = contextWithoutRequest();
      await callPrivateFunction(request, uses.statement, values).catch((err: unknown) =>
        logger.warn({ correlationId: request.correlationId, err }, "last activity not written"),
      );
    }
  }

  function flushOnce(): Promise<void> {
    // A slow database gets one statement at a time.
    flushing ??= flush().finally(() => {
      flushing = undefined;
    });
    return flushing;
  }

  const timer = setInterval(() => void flushOnce(), flushIntervalMs).unref();
  return {
    note(claims, clientIp) {
      const note = { at: Date.now(), ip: clientIp };
      if (isApiToken(claims)) apiTokens.note(claims.tokenId, note);
      else sessions.note(claims.sessionId, note);
    },
    async close() {
      clearInterval(timer);
      await flushing;
      await flushOnce();
    },
  };
}
