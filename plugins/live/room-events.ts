import "postgraphile";
import { TYPES } from "postgraphile/@dataplan/pg";
import { applyTransforms, constant, each, get, type Step } from "postgraphile/grafast";
import { extendSchema, gql } from "postgraphile/utils";
import { liveField } from "./live-field.ts";
import { ReadingStep } from "./reading-step.ts";

/** Events one answer holds; whoever is further behind gets the next ones in the next answer. */
const PAGE_SIZE = 50;

interface Arguments {
  readonly roomId: string;
  readonly after: string | null | undefined;
}

/** roomEvents: what happens in a room, in order, without loss or duplicate. */
export const RoomEventsPlugin = extendSchema((build) => {
  const { sql, pgResources } = build as typeof build & { sql: any };
  const events = (pgResources as any).room_events;
  if (!events) throw new Error("The table rooms.room_events is missing; has the database been migrated?");

  return {
    typeDefs: gql`
      """What happened in a room since the last answer."""
      type RoomEventsPayload {
        """In their order. Empty only in the first answer, which comes at once and says that you are listening."""
        events: [RoomEvent!]!
        """Hand it as \`after\` to go on from here."""
        sequence: BigInt!
      }

      extend type Subscription {
        """
        What happens in a room, from its event \`after\` on, or from now on without it. Each event comes once and in order;
        after a lost connection go on with the last \`sequence\`. Fails with NOT_FOUND for a room you may not see, also later,
        when you have been removed.
        """
        roomEvents(roomId: UUID!, after: BigInt): RoomEventsPayload
      }
    `,
    objects: {
      Subscription: {
        plans: {
          roomEvents: {
            subscribePlan: liveField<Arguments>(["roomId", "after"], ({ roomId, after }, readOne) => ({
              topics: [`room:${roomId}`],
              isLog: true,
              after: after == null ? null : BigInt(after),
              minIntervalMs: 0,
              async open() {
                const row = await readOne<{ position: string | null }>({
                  text: "select rooms.room_position($1) as position",
                  values: [roomId],
                  name: "plinth_room_position",
                });
                return row?.position == null ? null : BigInt(row.position);
              },
            })),
            plan($item: Step, args: any) {
              const $rows = events.find({ room_id: args.getRaw("roomId") });
              const $after = $rows.placeholder(get($item, "after"), TYPES.bigint);
              $rows.where(sql`${$rows.alias}.sequence > ${$after}`);
              $rows.orderBy({ attribute: "sequence", direction: "ASC" });
              $rows.setOrderIsUnique();
              $rows.setFirst(constant(PAGE_SIZE));
              const $sequences = applyTransforms(each($rows, ($row: any) => $row.get("sequence")));
              return new ReadingStep($item, $rows, $sequences, (item, sequences: string[]) => {
                const sequence = sequences.at(-1) ?? item.after;
                return {
                  reading: {
                    cursor: BigInt(sequence),
                    isEmpty: sequences.length === 0,
                    hasMore: sequences.length === PAGE_SIZE,
                  },
                  answer: { sequence },
                };
              });
            },
          },
        },
      },
      RoomEventsPayload: {
        plans: {
          events: ($reading: ReadingStep) => $reading.rows(),
          sequence: ($reading: ReadingStep) => get($reading, "sequence" as never),
        },
      },
    },
  };
}, "PlinthRoomEventsPlugin");
