import "graphile-build-pg";
import { type PgSelectStep, TYPES } from "@dataplan/pg";
import { constant, type FieldArgs, type Step } from "grafast";
import { extendSchema, gql } from "graphile-utils";
import { liveField, resourceOf, valuesOf } from "./live-field.ts";
import { keptStep, ReadingStep, type Report } from "./reading-step.ts";
import { roomPosition } from "./room-position.ts";

/** Maximum users per answer; larger lists are of no use to a person. */
const MAX_PEOPLE = 200;
/** Minimum interval between two answers. */
const MIN_INTERVAL_MS = 200;

interface Arguments {
  readonly roomId: string;
}

const typeDefs = gql`
  """The users typing in a room."""
  type TypingPayload {
    """At most 200 users, without yourself."""
    members: [Typing!]!
  }

  """The present members of a room."""
  type PresencePayload {
    """At most 200 members. Other members are offline or do not announce their presence."""
    members: [Presence!]!
  }

  extend type Subscription {
    """
    The users typing in a room, sent immediately and on each change; announced with \`setTyping\`. NOT_FOUND for
    non-members.
    """
    typing(roomId: UUID!): TypingPayload
    """
    The present members of a room, sent immediately and on each change; announced with \`setPresence\`. NOT_FOUND for
    non-members.
    """
    presence(roomId: UUID!): PresencePayload
  }
`;

const subscribePlan = (topic: string) =>
  liveField<Arguments>(["roomId"], ({ roomId }, readOne) => ({
    topics: [`${topic}:${roomId}`],
    isLog: false,
    after: null,
    minIntervalMs: MIN_INTERVAL_MS,
    open: () => roomPosition(readOne, roomId),
  }));

const reportPeople: Report<[number[]]> = (_item, secondsLeft) => {
  const changesAt = Date.now() + Math.min(...secondsLeft) * 1_000;
  return { reading: { isEmpty: secondsLeft.length === 0, changesAt }, answer: {} };
};

/** typing and presence: states that expire, so each batch also reports when to read again. */
export const PresencePlugin = extendSchema((build) => {
  const { sql } = build;
  const typing = resourceOf(build, "typing");
  const presence = resourceOf(build, "presence");

  function planTyping($item: Step, args: FieldArgs): Step {
    const $people = typing.find({ room_id: args.getRaw("roomId") } as never) as PgSelectStep;
    $people.where(sql`${$people.alias}.user_id <> (select plinth.current_user_id())`);
    return readingOf($item, $people);
  }

  function planPresence($item: Step, args: FieldArgs): Step {
    const $people = presence.find() as PgSelectStep;
    const $roomId = $people.placeholder(args.getRaw("roomId"), TYPES.uuid);
    $people.where(
      sql`${$people.alias}.user_id in (select m.user_id from rooms.room_members m where m.room_id = ${$roomId})`,
    );
    return readingOf($item, $people);
  }

  function readingOf($item: Step, $people: PgSelectStep): Step {
    $people.orderBy({ attribute: "user_id", direction: "ASC" });
    $people.setFirst(constant(MAX_PEOPLE));
    // Computed with the database's clock, because this machine's clock may differ.
    const $secondsLeft = valuesOf($people, ($person) =>
      $person.select(
        sql`extract(epoch from ${$people.alias}.expires_at - statement_timestamp())::double precision`,
        TYPES.float,
      ),
    );
    return new ReadingStep($item, [$secondsLeft], { $people }, reportPeople);
  }

  return {
    typeDefs,
    objects: {
      Subscription: {
        plans: {
          typing: { subscribePlan: subscribePlan("typing"), plan: planTyping },
          presence: { subscribePlan: subscribePlan("presence"), plan: planPresence },
        },
      },
      TypingPayload: { plans: { members: keptStep("$people") } },
      PresencePayload: { plans: { members: keptStep("$people") } },
    },
  };
}, "PlinthPresencePlugin");
