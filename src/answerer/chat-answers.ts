import { type AnswerStore, counts, type ModelClaim } from "./answer-store.ts";
import type { Call } from "./insist.ts";
import type { ContextMessage, Tool } from "./prompt.ts";
import type { Recall } from "./recalled-memories.ts";

/** A requested answer of a chat that this process has claimed. */
export interface ChatClaim extends ModelClaim {
  readonly message_id: string;
  readonly claim_id: string;
  readonly user_id: string;
  /** BigInt as text. */
  readonly max_tokens: string;
  readonly tools: readonly Tool[] | null;
  readonly lease_seconds: number;
  /** Whether the endpoint is the user's own. */
  readonly is_own: boolean;
}

export const claimChatAnswers = (call: Call, maxCount: number): Promise<readonly ChatClaim[]> =>
  call<ChatClaim>("select * from private.claim_answers($1)", [maxCount]);

/** Ends answers that killed servers left behind. */
export async function breakOffLostAnswers(call: Call): Promise<void> {
  await call("select private.break_off_lost_answers()", []);
}

export function chatAnswer(claim: ChatClaim, call: Call, recall: Recall): AnswerStore {
  const { message_id: id, claim_id, user_id } = claim;
  return {
    id,
    tools: claim.tools,
    maxTokens: Number(claim.max_tokens),
    maxBytes: 1_000_000,
    leaseSeconds: claim.lease_seconds,

    context: async () =>
      recall(user_id, await call<ContextMessage>("select * from private.answer_context($1)", [id])),

    async append(first, pieces) {
      await call("select private.append_answer($1, $2, $3, $4, $5)", [
        id,
        claim_id,
        first,
        pieces.map(({ content }) => content),
        pieces.map(({ thinking }) => thinking),
      ]);
    },

    async extendLease() {
      const [row] = await call<{ is_running: boolean }>(
        "select private.extend_answer_lease($1, $2) as is_running",
        [id, claim_id],
      );
      return row!.is_running;
    },

    async finish(last, { finishReason, toolCalls, usage }) {
      await call("select private.finish_answer($1, $2, $3, $4, $5, $6, $7, $8, $9)", [
        id,
        claim_id,
        finishReason,
        last,
        toolCalls.length > 0 ? JSON.stringify(toolCalls) : null,
        ...counts(usage),
      ]);
    },

    async breakOff({ code, message }, usage) {
      const text = "select private.break_off_answer($1, $2, $3, $4, $5, $6, $7, $8)";
      await call(text, [id, claim_id, code, message, ...counts(usage)]);
    },

    async release() {
      const [row] = await call<{ is_released: boolean }>(
        "select private.release_answer($1, $2) as is_released",
        [id, claim_id],
      );
      return row!.is_released;
    },
  };
}
