import type { Failure } from "./failure.ts";
import type { Piece } from "./in-batches.ts";
import type { Ending, Usage } from "./model-stream.ts";
import type { ContextMessage, Tool } from "./prompt.ts";

/** A claimed answer, of a chat or of a room's AI, as its writer sees it. Each change can be repeated. */
export interface AnswerStore {
  /** For the log and for notifications: the message of a chat, or the room. */
  readonly id: string;
  readonly tools: readonly Tool[] | null;
  readonly maxTokens: number;
  /** The largest answer that can be stored. */
  readonly maxBytes: number;
  readonly leaseSeconds: number;
  context(): Promise<readonly ContextMessage[]>;
  /** @param first the number of the first piece */
  append(first: number, pieces: readonly Piece[]): Promise<void>;
  /** @returns whether the answer is still to be written */
  extendLease(): Promise<boolean>;
  /** @param last the number of the last piece */
  finish(last: number, ending: Ending): Promise<void>;
  breakOff(failure: Failure, usage?: Usage): Promise<void>;
  /** @returns whether another server may claim it */
  release(): Promise<boolean>;
}

/** Where a claimed answer's model is, and who pays for it. */
export interface ModelClaim {
  readonly provider_id: string | null;
  readonly endpoint: string | null;
  readonly auth_type: string | null;
  readonly model: string | null;
  readonly sealed_key: string | null;
}

/** Usage as arguments of SQL: input, output, cached and reasoning tokens. */
export const counts = (usage: Usage | undefined): (number | null)[] => [
  usage?.input ?? null,
  usage?.output ?? null,
  usage?.cached ?? 0,
  usage?.reasoning ?? 0,
];
