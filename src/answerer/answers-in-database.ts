import { setTimeout as sleep } from "node:timers/promises";
import { contextWithoutRequest } from "../request/context.ts";
import { isTransient } from "../request/public-error.ts";
import type { CallPrivateFunction } from "../request/service-caller.ts";
import type { Failure } from "./failure.ts";
import type { Piece } from "./in-batches.ts";
import type { Ending, Usage } from "./model-stream.ts";
import type { ContextMessage, Tool } from "./prompt.ts";

/** A requested answer that this process has claimed. */
export interface Claim {
  readonly message_id: string;
  readonly claim_id: string;
  readonly user_id: string;
  /** BigInt as text. */
  readonly max_tokens: string;
  readonly tools: readonly Tool[] | null;
  readonly lease_seconds: number;
  /** Whether the endpoint is the user's own. */
  readonly is_own: boolean;
  readonly provider_id: string | null;
  readonly endpoint: string | null;
  readonly auth_type: string | null;
  readonly model: string | null;
  readonly sealed_key: string | null;
}

const RETRY_MS = 200;
const MAX_TRIES = 50;

/** The answers as the database sees them. Every change can be repeated, so a lost connection only delays it. */
export function answersInDatabase(callPrivateFunction: CallPrivateFunction) {
  async function call<TRow>(text: string, values: readonly unknown[]): Promise<readonly TRow[]> {
    for (let tries = 1; ; tries++) {
      try {
        return await callPrivateFunction<TRow>(contextWithoutRequest(), text, values);
      } catch (error) {
        if (!isTransient(error) || tries >= MAX_TRIES) throw error;
        await sleep(RETRY_MS);
      }
    }
  }

  return {
    /** Not repeated: the next poll does. */
    claim: (maxCount: number) =>
      callPrivateFunction<Claim>(contextWithoutRequest(), "select * from private.claim_answers($1)", [
        maxCount,
      ]),

    async breakOffLost(): Promise<void> {
      await callPrivateFunction(contextWithoutRequest(), "select private.break_off_lost_answers()", []);
    },

    context: ({ message_id }: Claim) =>
      call<ContextMessage>("select * from private.answer_context($1)", [message_id]),

    async append({ message_id, claim_id }: Claim, first: number, pieces: readonly Piece[]): Promise<void> {
      await call("select private.append_answer($1, $2, $3, $4, $5)", [
        message_id,
        claim_id,
        first,
        pieces.map(({ content }) => content),
        pieces.map(({ thinking }) => thinking),
      ]);
    },

    /** @returns whether the answer is still to be written */
    async extendLease({ message_id, claim_id }: Claim): Promise<boolean> {
      const [row] = await call<{ is_running: boolean }>(
        "select private.extend_answer_lease($1, $2) as is_running",
        [message_id, claim_id],
      );
      return row!.is_running;
    },

    async finish({ message_id, claim_id }: Claim, last: number, ending: Ending): Promise<void> {
      const { finishReason, toolCalls, usage } = ending;
      await call("select private.finish_answer($1, $2, $3, $4, $5, $6, $7, $8, $9)", [
        message_id,
        claim_id,
        finishReason,
        last,
        toolCalls.length > 0 ? JSON.stringify(toolCalls) : null,
        ...counts(usage),
      ]);
    },

    async breakOff({ message_id, claim_id }: Claim, failure: Failure, usage?: Usage): Promise<void> {
      await call("select private.break_off_answer($1, $2, $3, $4, $5, $6, $7, $8)", [
        message_id,
        claim_id,
        failure.code,
        failure.message,
        ...counts(usage),
      ]);
    },

    /** @returns whether another server may claim it */
    async release({ message_id, claim_id }: Claim): Promise<boolean> {
      const [row] = await call<{ is_released: boolean }>(
        "select private.release_answer($1, $2) as is_released",
        [message_id, claim_id],
      );
      return row!.is_released;
    },
  };
}

export type AnswersInDatabase = ReturnType<typeof answersInDatabase>;

const counts = (usage: Usage | undefined) => [
  usage?.input ?? null,
  usage?.output ?? null,
  usage?.cached ?? 0,
  usage?.reasoning ?? 0,
];
