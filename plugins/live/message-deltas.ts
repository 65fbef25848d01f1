import "postgraphile";
import { type PgSelectStep, TYPES } from "postgraphile/@dataplan/pg";
import { constant, type FieldArgs, get, type Step } from "postgraphile/grafast";
import { extendSchema, gql } from "postgraphile/utils";
import type { ReadingSubscription } from "../../src/live/live-source.ts";
import { PlinthError } from "../../src/support/errors.ts";
import { liveField, resourceOf, valuesOf } from "./live-field.ts";
import { keptStep, ReadingStep } from "./reading-step.ts";

/** Maximum deltas per answer; subscribers further behind get the rest in the next answers. */
const PAGE_SIZE = 100;

interface Arguments {
  readonly messageId: string;
  readonly after: number | null | undefined;
}

/** messageDeltas: an assistant's answer as it streams in, from any point to its end. */
export const MessageDeltasPlugin = extendSchema((build) => {
  const { sql } = build;
  const deltas = resourceOf(build, "message_deltas");
  const messages = resourceOf(build, "messages");
  /** Subscriptions that have already read the end of the answer. */
  const endSeen = new WeakSet<ReadingSubscription>();

  return {
    typeDefs: gql`
      """The deltas of an answer since the last payload."""
      type MessageDeltasPayload {
        """
        The deltas in order, to be appended. If they do not continue from the last \`sequence\`, or none arrive although the
        answer has ended with a higher \`sequence\`, they have been deleted: use the content of \`message\`.
        """
        deltas: [MessageDelta!]!
        """Pass it as \`after\` to resume from here."""
        sequence: Int!
        """Whether the answer has ended and nothing more follows; then the subscription completes."""
        isOver: Boolean!
        """The current state of the answer; its content is set when it has ended."""
        message: Message
      }

      extend type Subscription {
        """
        An answer as it streams in, after its delta \`after\`, or from the first delta; completes when the answer has ended.
        NOT_FOUND for another user's answer.
        """
        messageDeltas(messageId: UUID!, after: Int): MessageDeltasPayload
      }
    `,
    objects: {
      Subscription: {
        plans: {
          messageDeltas: {
            subscribePlan: liveField<Arguments>(["messageId", "after"], ({ messageId, after }, readOne) => {
              if (after != null && after < 0)
                throw new PlinthError("BAD_USER_INPUT", "`after` must not be negative.", { field: "after" });
              return {
                topics: [`turn:${messageId}`],
                isLog: true,
                after: BigInt(after ?? 0),
                minIntervalMs: 0,
                async open() {
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
                },
              };
            }),
            plan($item: Step, args: FieldArgs) {
              const $messageId = args.getRaw("messageId");
              const $message = messages.get({ id: $messageId } as never) as Step & {
                get(column: string): Step;
              };
              const $deltas = deltas.find({ message_id: $messageId } as never) as PgSelectStep;
              const $after = $deltas.placeholder(get($item, "after" as never), TYPES.int);
              $deltas.where(
                sql`${$deltas.alias}.user_id = (select plinth.current_user_id()) and ${$deltas.alias}.sequence > ${$after}`,
              );
              $deltas.orderBy({ attribute: "sequence", direction: "ASC" });
              $deltas.setOrderIsUnique();
              $deltas.setFirst(constant(PAGE_SIZE));
              const found = [
                valuesOf($deltas, ($delta) => $delta.get("sequence")),
                $message.get("state"),
                $message.get("last_sequence"),
              ];
              return new ReadingStep<[number[], string, number]>(
                $item,
                found,
                { $deltas, $message },
                (item, sequences, state, lastSequence) => {
                  const last = sequences.at(-1);
                  const hasEnded = state !== "streaming";
                  // Deltas may arrive between reading the deltas and the message, so only deltas missing twice are gone.
                  const hasAll = (last ?? Number(item.after)) >= lastSequence;
                  const isGone = last === undefined && endSeen.has(item.subscription);
                  const isOver = hasEnded && (hasAll || isGone);
                  if (hasEnded) endSeen.add(item.subscription);
                  const sequence = isOver ? lastSequence : (last ?? Number(item.after));
                  return {
                    reading: {
                      cursor: BigInt(sequence),
                      isEmpty: last === undefined,
                      hasMore: sequences.length === PAGE_SIZE || (hasEnded && !isOver),
                      isOver,
                      mayEnd: true,
                    },
                    answer: { sequence, isOver },
                  };
                },
              );
            },
          },
        },
      },
      MessageDeltasPayload: {
        plans: { deltas: keptStep("$deltas"), message: keptStep("$message") },
      },
    },
  };
}, "PlinthMessageDeltasPlugin");
