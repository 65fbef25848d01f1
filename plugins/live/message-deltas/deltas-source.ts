import { PlinthError } from "../../../src/support/errors.ts";
import type { ReadOne, SourceOf } from "../live-field.ts";

interface Arguments {
  readonly messageId: string;
  readonly after: number | null | undefined;
}

/** Where the deltas of an answer come from, and who may read them. */
export const deltasSource: SourceOf<Arguments> = ({ messageId, after }, readOne) => {
  if (after != null && after < 0)
    throw new PlinthError("BAD_USER_INPUT", "`after` must not be negative.", { field: "after" });
  return {
    topics: [`turn:${messageId}`],
    isLog: true,
    after: BigInt(after ?? 0),
    minIntervalMs: 0,
    open: () => turnPosition(readOne, messageId),
  };
};

/** Returns the last sequence of an answer; null if the caller may not see it. */
async function turnPosition(readOne: ReadOne, messageId: string): Promise<bigint | null> {
  const row = await readOne<{ position: number }>({
    name: "plinth_turn_position",
    text: `select greatest(m.last_sequence, (
             select max(d.sequence) from llm.message_deltas d
             where d.user_id = m.user_id and d.message_id = m.id
           )) as position
           from llm.messages m
           where m.id = $1`,
    values: [messageId],
  });
  return row ? BigInt(row.position) : null;
}
