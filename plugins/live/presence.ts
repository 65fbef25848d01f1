import "postgraphile";
import { type PgSelectStep, TYPES } from "postgraphile/@dataplan/pg";
import { constant, type FieldArgs, type Step } from "postgraphile/grafast";
import { extendSchema, gql } from "postgraphile/utils";
import { liveField, resourceOf, valuesOf } from "./live-field.ts";
import { keptStep, ReadingStep } from "./reading-step.ts";
import { roomPosition } from "./room-position.ts";

/** People one answer names; in larger crowds nobody looks at each. */
const MAX_PEOPLE = 200;
/** How often a subscriber is told at most. */
const MIN_INTERVAL_MS = 200;

interface Arguments {
  readonly roomId: string;
}

/** typing and presence: states that end by themselves, so each answer also says when to look again. */
export const PresencePlugin = extendSchema((build) => {
  const { sql } = build;
  const typing = resourceOf(build, "typing");
  const presence = resourceOf(build, "presence");

  const subscribePlan = (topic: string) =>
    liveField<Arguments>(["roomId"], ({ roomId }, readOne) => ({
      topics: [`${topic}:${roomId}`],
      isLog: false,
      after: null,
      minIntervalMs: MIN_INTERVAL_MS,
      open: () => roomPosition(readOne, roomId),
    }));

  function readingOf($item: Step, $people: PgSelectStep): Step {
    $people.orderBy({ attribute: "user_id", direction: "ASC" });
    $people.setFirst(constant(MAX_PEOPLE));
    // Counted by the database's clock: that of this machine may differ.
    const $secondsLeft = valuesOf($people, ($person) =>
      $person.select(
        sql`extract(epoch from ${$people.alias}.expires_at - statement_timestamp())::double precision`,
        TYPES.float,
      ),
    );
    return new ReadingStep<[number[]]>($item, [$secondsLeft], { $people }, (_item, secondsLeft) => ({
      reading: {
        isEmpty: secondsLeft.length === 0,
        changesAt: Date.now() + Math.min(...secondsLeft) * 1_000,
      },
      answer: {},
    }));
  }

  return {
    typeDefs: gql`
      """Who is writing in a room."""
      type TypingPayload {
        """At most 200, without yourself."""
        members: [Typing!]!
      }

      """Who of a room is there."""
      type PresencePayload {
        """At most 200. Who is missing is not there, or does not say so."""
        members: [Presence!]!
      }

      extend type Subscription {
        """
        Who is writing in a room: at once, and whenever it changes; said with \`setTyping\`. NOT_FOUND for who is no member.
        """
        typing(roomId: UUID!): TypingPayload
        """
        Which members of a room are there: at once, and whenever it changes; said with \`setPresence\`. NOT_FOUND for who is
        no member.
        """
        presence(roomId: UUID!): PresencePayload
      }
    `,
    objects: {
      Subscription: {
        plans: {
          typing: {
            subscribePlan: subscribePlan("typing"),
            plan($item: Step, args: FieldArgs) {
              const $people = typing.find({ room_id: args.getRaw("roomId") } as never) as PgSelectStep;
              $people.where(sql`${$people.alias}.user_id <> (select plinth.current_user_id())`);
              return readingOf($item, $people);
            },
          },
          presence: {
            subscribePlan: subscribePlan("presence"),
            plan($item: Step, args: FieldArgs) {
              const $people = presence.find() as PgSelectStep;
              const $roomId = $people.placeholder(args.getRaw("roomId"), TYPES.uuid);
              $people.where(
                sql`${$people.alias}.user_id in (select m.user_id from rooms.room_members m where m.room_id = ${$roomId})`,
              );
              return readingOf($item, $people);
            },
          },
        },
      },
      TypingPayload: { plans: { members: keptStep("$people") } },
      PresencePayload: { plans: { members: keptStep("$people") } },
    },
  };
}, "PlinthPresencePlugin");
