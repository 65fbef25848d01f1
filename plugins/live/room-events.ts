import "postgraphile";
import { type PgSelectStep, TYPES } from "postgraphile/@dataplan/pg";
import { constant, type FieldArgs, get, type Step } from "postgraphile/grafast";
import { extendSchema, gql } from "postgraphile/utils";
import { liveField, resourceOf, valuesOf } from "./live-field.ts";
import { keptStep, ReadingStep } from "./reading-step.ts";
import { roomPosition } from "./room-position.ts";

/** Events one answer holds; whoever is further behind gets the next ones in the next answer. */
const PAGE_SIZE = 50;

interface Arguments {
  readonly roomId: string;
  readonly after: string | null | undefined;
}

/** roomEvents: what happens in a room, in order, without loss or duplicate. */
export const RoomEventsPlugin = extendSchema((build) => {
  const { sql } = build;
  const events = resourceOf(build, "room_events");

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
        What happens in a room, after the event with the number \`after\`, or from now on without it. Each event comes once
        and in order; after a lost connection go on from the last \`sequence\`. NOT_FOUND for who is no member, also later,
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
              isShareable: true,
              open: () => roomPosition(readOne, roomId),
            })),
            plan($item: Step, args: FieldArgs) {
              const $events = events.find({ room_id: args.getRaw("roomId") } as never) as PgSelectStep;
              const $after = $events.placeholder(get($item, "after" as never), TYPES.bigint);
              $events.where(sql`${$events.alias}.sequence > ${$after}`);
              $events.orderBy({ attribute: "sequence", direction: "ASC" });
              $events.setOrderIsUnique();
              $events.setFirst(constant(PAGE_SIZE));
              const $sequences = valuesOf($events, ($event) => $event.get("sequence"));
              return new ReadingStep<[string[]]>($item, [$sequences], { $events }, (item, sequences) => {
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
      RoomEventsPayload: { plans: { events: keptStep("$events") } },
    },
  };
}, "PlinthRoomEventsPlugin");
