import "graphile-build-pg";
import type { PgSelectStep } from "@dataplan/pg";
import { constant, type FieldArgs, type Step } from "grafast";
import { extendSchema, gql } from "graphile-utils";
import { PlinthError } from "../../src/support/errors.ts";
import { liveField, type ReadOne, resourceOf, valuesOf } from "./live-field.ts";
import { ReadingStep, type Report } from "./reading-step.ts";

interface Arguments {
  readonly roomId: string;
  readonly after: string | null | undefined;
}

/** Columns of the answer that the payload has or is computed from. */
const COLUMNS = [
  "first_sequence",
  "last_sequence",
  "pieces",
  "state",
  "reply_to_id",
  "message_id",
  "error_code",
] as const;

const typeDefs = gql`
  """The answer that a room's AI is writing, since the last payload."""
  type RoomAnswerPayload {
    """The next pieces of the text in order, to be appended."""
    contents: [String!]!
    """Whether the pieces begin an answer: discard those received before."""
    isNew: Boolean!
    """Pass it as \`after\` to resume from here."""
    sequence: BigInt!
    """The state of the answer; null if the AI has not answered yet."""
    state: RoomAnswerState
    """The message that is answered."""
    replyToId: UUID
    """The message that the complete answer has become; it is also an event of the room."""
    messageId: UUID
    """The reason for a broken-off answer."""
    errorCode: String
  }

  extend type Subscription {
    """
    The answers of a room's AI as they stream in, after the sequence \`after\`, or from the start of the current answer.
    NOT_FOUND for non-members.
    """
    roomAnswer(roomId: UUID!, after: BigInt): RoomAnswerPayload
  }
`;

const subscribePlan = liveField<Arguments>(["roomId", "after"], ({ roomId, after }, readOne) => {
  const position = BigInt(after ?? 0);
  if (position < 0n)
    throw new PlinthError("BAD_USER_INPUT", "`after` must not be negative.", { field: "after" });
  return {
    topics: [`room-answer:${roomId}`],
    isLog: true,
    after: position,
    minIntervalMs: 0,
    open: () => answerPosition(readOne, roomId, String(position)),
  };
});

/** A subscriber may have read an answer that is hidden since, so its own position counts as well. */
async function answerPosition(readOne: ReadOne, roomId: string, after: string): Promise<bigint | null> {
  const row = await readOne<{ position: string }>({
    name: "plinth_room_answer_position",
    text: `select greatest(a.last_sequence, $2)::text as position
           from rooms.room_members m
           left join rooms.room_answers a on a.room_id = m.room_id
           where m.room_id = $1 and m.user_id = (select plinth.current_user_id())`,
    values: [roomId, after],
  });
  return row ? BigInt(row.position) : null;
}

type Found = [
  first: string[],
  last: string[],
  pieces: string[][],
  state: string[],
  replyToId: string[],
  messageId: (string | null)[],
  errorCode: (string | null)[],
];

/** Found values are lists of one row, or of none. */
const reportAnswer: Report<Found> = ({ after }, ...found) => {
  const [first, last, pieces, state, replyToId, messageId, errorCode] = found.map(([value]) => value) as [
    string | undefined,
    string | undefined,
    string[] | undefined,
    ...(string | null | undefined)[],
  ];
  const read = BigInt(after);
  const start = BigInt(first ?? 0);
  const cursor = BigInt(last ?? 0) > read ? BigInt(last!) : read;
  const contents = (pieces ?? []).slice(read > start ? Number(read - start) : 0);
  const isNew = first !== undefined && read < start;
  return {
    reading: { cursor, isEmpty: cursor === read },
    answer: { contents, isNew, sequence: String(cursor), state, replyToId, messageId, errorCode },
  };
};

/** roomAnswer: the answers of a room's AI as they stream in. */
export const RoomAnswerPlugin = extendSchema((build) => {
  const answers = resourceOf(build, "room_answers");

  function plan($item: Step, args: FieldArgs): Step {
    const $answers = answers.find({ room_id: args.getRaw("roomId") } as never) as PgSelectStep;
    $answers.setFirst(constant(1));
    const found = COLUMNS.map((column) => valuesOf($answers, ($answer) => $answer.get(column)));
    return new ReadingStep($item, found, {}, reportAnswer as unknown as Report<readonly unknown[]>);
  }

  return {
    typeDefs,
    objects: { Subscription: { plans: { roomAnswer: { subscribePlan, plan } } } },
  };
}, "PlinthRoomAnswerPlugin");
