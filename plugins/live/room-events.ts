import "graphile-build-pg";
import { type PgSelectStep, TYPES } from "@dataplan/pg";
import { constant, type FieldArgs, get, type Step } from "grafast";
import { extendSchema, gql } from "graphile-utils";
import { liveField, resourceOf, valuesOf } from "./live-field.ts";
import { keptStep, ReadingStep, type Report } from "./reading-step.ts";
import { roomPosition } from "./room-position.ts";

/** Maximum events per answer; subscribers further behind get the rest in the next answers. */
const PAGE_SIZE = 50;

interface Arguments {
  readonly roomId: string;
  readonly after: string | null | undefined;
}

const typeDefs = gql`
  """The events of a room since the last answer."""
  type RoomEventsPayload {
    """The events in order. Empty only in the first answer, which is sent immediately to confirm the subscription."""
    events: [RoomEvent!]!
    """Pass it as \`after\` to resume from here."""
    sequence: BigInt!
  }

  extend type Subscription {
    """
    The events of a room after the event with the number \`after\`; if omitted, from the next event on. Each event is
    sent once and in order; after a lost connection, resume from the last \`sequence\`. NOT_FOUND for non-members, also
    later, when the subscriber is removed from the room.
    """
    roomEvents(roomId: UUID!, after: BigInt): RoomEventsPayload
  }
`;

const subscribePlan = liveField<Arguments>(["roomId", "after"], ({ roomId, after }, readOne) => ({
  topics: [`room:${roomId}`],
  isLog: true,
  after: after == null ? null : BigInt(after),
  minIntervalMs: 0,
  isShareable: true,
  open: () => roomPosition(readOne, roomId),
}));

const reportEvents: Report<[string[]]> = ({ after }, sequences) => {
  const sequence = sequences.at(-1) ?? after;
  const isEmpty = sequences.length === 0;
  const hasMore = sequences.length === PAGE_SIZE;
  return { reading: { cursor: BigInt(sequence), isEmpty, hasMore }, answer: { sequence } };
};

/** roomEvents: the events of a room, in order, without loss or duplicates. */
export const RoomEventsPlugin = extendSchema((build) => {
  const { sql } = build;
  const events = resourceOf(build, "room_events");

  function plan($item: Step, args: FieldArgs): Step {
    const $events = events.find({ room_id: args.getRaw("roomId") } as never) as PgSelectStep;
    const $after = $events.placeholder(get($item, "after" as never), TYPES.bigint);
    $events.where(sql`${$events.alias}.sequence > ${$after}`);
    $events.orderBy({ attribute: "sequence", direction: "ASC" });
    $events.setOrderIsUnique();
    $events.setFirst(constant(PAGE_SIZE));
    const $sequences = valuesOf($events, ($event) => $event.get("sequence"));
    return new ReadingStep($item, [$sequences], { $events }, reportEvents);
  }

  return {
    typeDefs,
    objects: {
      Subscription: { plans: { roomEvents: { subscribePlan, plan } } },
      RoomEventsPayload: { plans: { events: keptStep("$events") } },
    },
  };
}, "PlinthRoomEventsPlugin");
