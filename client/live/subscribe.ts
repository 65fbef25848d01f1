import type { PlinthClientError } from "../error.ts";
import { Inbox } from "./inbox.ts";
import type { LiveSocket, Subscriber } from "./socket.ts";

/** Beyond this many answers that the caller has not taken, a subscription with a cursor pauses. */
const MOST_WAITING = 64;

/**
 * The answers of a subscription. It starts with the first `next` and ends when the caller leaves the loop. A subscription with a
 * cursor (the variable `$after` and the field `sequence`) resumes after the last answer received; any other one is a
 * state, which the server sends whole after each start.
 * @throws PlinthClientError when the server ends it with an error; the signal's reason once it is aborted
 */
export async function* subscribe<Result>(
  socket: LiveSocket,
  query: string,
  variables: Readonly<Record<string, unknown>>,
  signal: AbortSignal | undefined,
): AsyncGenerator<Result, void, void> {
  signal?.throwIfAborted();
  const hasCursor = /\$after\b/.test(query);
  const inbox = new Inbox<Result>();
  let after = variables.after;
  let stop: (() => void) | undefined;

  const subscriber: Subscriber = {
    query,
    variables: () => (hasCursor ? { ...variables, after } : variables),
    next(data) {
      const sequence = sequenceOf(data);
      if ((sequence !== undefined) !== hasCursor) {
        pause();
        return inbox.end(
          new TypeError("Declare the variable $after and select `sequence`, to resume from it."),
        );
      }
      after = sequence;
      inbox.put(data as Result);
      if (hasCursor && inbox.size >= MOST_WAITING) pause();
    },
    end: (error?: PlinthClientError) => inbox.end(error),
  };
  const pause = () => {
    stop?.();
    stop = undefined;
  };
  const resume = () => {
    stop ??= socket.open(subscriber);
  };
  const onAbort = () => inbox.end(signal!.reason);
  signal?.addEventListener("abort", onAbort, { once: true });
  try {
    resume();
    for await (const answer of inbox) {
      if (signal?.aborted) throw signal.reason;
      yield answer;
      if (inbox.size === 0) resume();
    }
  } finally {
    pause();
    signal?.removeEventListener("abort", onAbort);
  }
}

/** The cursor of an answer, which has one field at the top. */
function sequenceOf(data: unknown): unknown {
  const [payload] = Object.values((data as Record<string, { sequence?: unknown } | null> | null) ?? {});
  return payload?.sequence;
}
