import type { Logger } from "pino";
import { inSpan, SpanKind } from "../observability/tracing.ts";
import type { AnswerStore } from "./answer-store.ts";
import { type BackOff, withBackOff } from "./back-off.ts";
import { AnswerFailed, type Failure, failureOf } from "./failure.ts";
import { inBatches, type Piece } from "./in-batches.ts";
import { type Ending, type Model, streamModel } from "./model-stream.ts";

export interface WriterParts {
  /** @throws AnswerFailed if the model cannot be called */
  readonly findModel: () => Model;
  readonly fetch: typeof globalThis.fetch;
  readonly wholeMs: number;
  readonly backOff?: BackOff | undefined;
  readonly logger: Logger;
  /** Called with ok, or with the code of the failure. */
  readonly onEnd: (outcome: string) => void;
}

const STOPPED: Failure = {
  code: "server_stopped",
  message: "The server stopped while it was writing this answer.",
  isTemporary: false,
};

/** The reasons for which an answer's writing stops. */
type Stop = "ended" | "closing";

/** An answer that this process is writing. */
export interface RunningAnswer {
  /** Reports the sequence of a notification about the answer. */
  heard(sequence: number): void;
  /** Stops at once; the answer is returned or broken off. */
  stop(): void;
  readonly done: Promise<void>;
}

/** Writes one claimed answer: calls the model, stores its pieces in batches and settles its usage. `done` never rejects. */
export function writeAnswer(answer: AnswerStore, parts: WriterParts): RunningAnswer {
  const { logger, onEnd } = parts;
  const stopping = new AbortController();
  const signal = AbortSignal.any([stopping.signal, AbortSignal.timeout(parts.wholeMs)]);
  const ending: Ending = { finishReason: undefined, usage: undefined, toolCalls: [] };
  let stored = 0;
  let heard = 0;
  const stop = (reason: Stop) => stopping.abort(reason);

  async function checkLease(): Promise<void> {
    try {
      if (!(await answer.extendLease())) stop("ended");
    } catch (err) {
      logger.warn({ err, answer: answer.id }, "The lease of an answer was not extended");
    }
  }

  async function write(): Promise<void> {
    const request = {
      model: parts.findModel(),
      context: await answer.context(),
      tools: answer.tools,
      maxTokens: answer.maxTokens,
      signal,
      fetch: parts.fetch,
    };
    const attempt = async (): Promise<void> => {
      Object.assign(ending, { finishReason: undefined, usage: undefined, toolCalls: [] });
      for await (const pieces of inBatches(bounded(streamModel(request, ending), ending, answer.maxBytes))) {
        await answer.append(stored + 1, pieces);
        stored += pieces.length;
      }
    };
    await withBackOff(attempt, () => stored === 0, signal, parts.backOff);
    await answer.finish(stored, ending);
    onEnd("ok");
  }

  async function giveUp(error: unknown): Promise<void> {
    if (stopping.signal.reason === "ended") return;
    // A changed audience of a room is a conflict, too: the answer starts again for the new one.
    if (isConflict(error)) return void (await answer.release());
    if (stopping.signal.reason === "closing" && (await answer.release())) return;
    const failure = stopping.signal.aborted ? STOPPED : failureOf(signal.aborted ? signal.reason : error);
    logger.warn({ answer: answer.id, code: failure.code }, "An answer was broken off");
    await answer.breakOff(failure, ending.usage);
    onEnd(failure.code);
  }

  async function run(): Promise<void> {
    const heartbeat = setInterval(() => void checkLease(), (answer.leaseSeconds * 1_000) / 3);
    try {
      await inSpan("answer", { kind: SpanKind.CLIENT }, write).catch(giveUp);
    } catch (err) {
      // The lease expires, and another server continues.
      logger.error({ err, answer: answer.id }, "An answer could not be ended");
    } finally {
      clearInterval(heartbeat);
      // Ends a request that is still open.
      stop("ended");
    }
  }

  return {
    // Every append is announced once. Another announcement of the same sequence is the answer's end, such as a cancellation.
    heard(sequence) {
      if (sequence > heard) heard = sequence;
      else void checkLease();
    },
    stop: () => stop("closing"),
    done: run(),
  };
}

/** Ends an answer at the size that can be stored, as if the model had reached its limit. */
async function* bounded(
  pieces: AsyncIterable<Piece>,
  ending: Ending,
  maxBytes: number,
): AsyncGenerator<Piece> {
  let bytes = 0;
  for await (const piece of pieces) {
    bytes += Buffer.byteLength(piece.content) + Buffer.byteLength(piece.thinking);
    if (bytes > maxBytes) {
      ending.finishReason = "length";
      return;
    }
    if (piece.content + piece.thinking !== "") yield piece;
  }
}

/** The answer has ended, was deleted, or another server has claimed it. */
function isConflict(error: unknown): boolean {
  if (error instanceof AnswerFailed) return error.failure.code === "audience_changed";
  const code = (error as { code?: unknown } | null)?.code;
  return code === "PL409" || code === "PL404";
}
