import { type AnswerStore, counts, type ModelClaim } from "./answer-store.ts";
import { AnswerFailed } from "./failure.ts";
import type { Call } from "./insist.ts";
import type { ContextMessage } from "./prompt.ts";

/** A room whose AI this process answers as. */
export interface RoomClaim extends ModelClaim {
  readonly room_id: string;
  readonly claim_id: string;
  /** The message to answer. */
  readonly message_id: string;
  readonly audience_version: string;
  /** BigInt as text. */
  readonly max_tokens: string;
  readonly lease_seconds: number;
}

interface RoomMessage {
  readonly message_id: string;
  readonly sender_type: string;
  readonly sender_name: string | null;
  readonly content: string;
  readonly audience_version: string;
}

/** @param roomIds null for all rooms */
export const claimRoomAnswers = (
  call: Call,
  roomIds: readonly string[] | null,
  maxCount: number,
): Promise<readonly RoomClaim[]> =>
  call<RoomClaim>("select * from private.claim_room_answers($1, $2)", [roomIds, maxCount]);

export function roomAnswer(claim: RoomClaim, call: Call): AnswerStore {
  const { room_id: id, claim_id } = claim;
  let pieceCount = 0;
  return {
    id,
    tools: null,
    maxTokens: Number(claim.max_tokens),
    // The limit of a room's message.
    maxBytes: 40_000,
    leaseSeconds: claim.lease_seconds,

    /** @throws AnswerFailed audience_changed */
    async context() {
      const rows = await call<RoomMessage>("select * from private.room_context($1)", [id]);
      if (rows.some(({ audience_version }) => audience_version !== claim.audience_version))
        throw new AnswerFailed("audience_changed", "The audience of the answer has changed.");
      // Later messages are answered by the next answer.
      return rows
        .slice(0, rows.findIndex(({ message_id }) => message_id === claim.message_id) + 1)
        .map(asContext);
    },

    /** The pieces of a call are stored as one, because members read them together. */
    async append(_first, pieces) {
      const content = pieces.map((piece) => piece.content).join("");
      if (content === "") return;
      await call("select private.append_room_answer($1, $2, $3, $4)", [
        id,
        claim_id,
        pieceCount + 1,
        content,
      ]);
      pieceCount += 1;
    },

    async extendLease() {
      const [row] = await call<{ is_running: boolean }>(
        "select private.extend_room_lease($1, $2) as is_running",
        [id, claim_id],
      );
      return row!.is_running;
    },

    /** @throws AnswerFailed if the model said nothing */
    async finish(_last, { usage }) {
      if (pieceCount === 0) throw new AnswerFailed("model_failed", "The model's answer is empty.");
      await call("select private.finish_room_answer($1, $2, $3, $4, $5, $6)", [
        id,
        claim_id,
        ...counts(usage),
      ]);
    },

    async breakOff({ code }, usage) {
      const text = "select private.break_off_room_answer($1, $2, $3, $4, $5, $6, $7)";
      await call(text, [id, claim_id, code, ...counts(usage)]);
    },

    async release() {
      const [row] = await call<{ is_released: boolean }>(
        "select private.release_room_answer($1, $2) as is_released",
        [id, claim_id],
      );
      return row!.is_released;
    },
  };
}

/** People are told apart by their names. */
function asContext({ sender_type, sender_name, content }: RoomMessage): ContextMessage {
  return sender_type === "ai"
    ? { role: "assistant", content }
    : { role: "user", content: `${sender_name ?? "Deleted account"}: ${content}` };
}
