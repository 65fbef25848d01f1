import "graphile-build-pg";
import { listOfCodec, type PgSelectStep, TYPES } from "@dataplan/pg";
import { constant, lambda, type Step } from "grafast";
import { extendSchema, gql } from "graphile-utils";
import type { LiveItem } from "../../src/live/live-source.ts";
import { liveField, type ReadOne, resourceOf, valuesOf } from "./live-field.ts";
import { keptStep, ReadingStep, type Report } from "./reading-step.ts";

/** Maximum rooms per subscriber. */
const MAX_ROOMS = 1_000;
/** Minimum interval between two answers. */
const MIN_INTERVAL_MS = 200;

const typeDefs = gql`
  """Unread messages and mentions."""
  type UnreadCountsPayload {
    """Whether \`counts\` covers all of your rooms, up to 1000; otherwise the counts of other rooms are unchanged."""
    isWhole: Boolean!
    counts: [UnreadCount!]!
  }

  extend type Subscription {
    """Your unread messages and mentions by room, sent immediately and whenever they change."""
    unreadCounts: UnreadCountsPayload
  }
`;

const subscribePlan = liveField<object>([], (_args, readOne, userId) => ({
  topics: [`user:${userId}`],
  isLog: false,
  after: null,
  minIntervalMs: MIN_INTERVAL_MS,
  open: () => ownPosition(readOne),
}));

/** A state has no sequence; null for a deleted account. */
async function ownPosition(readOne: ReadOne): Promise<bigint | null> {
  const row = await readOne({
    name: "plinth_own_account",
    text: "select from identity.users where id = (select plinth.current_user_id())",
  });
  return row ? 0n : null;
}

const reportCounts: Report<[string[]]> = (item, roomIds) => {
  const isWhole = changedRooms(item) === null;
  const [own] = item.subscription.topics;
  const topics = isWhole ? [own!, ...roomIds.map((id) => `room:${id}`)] : undefined;
  return { reading: { isEmpty: false, topics }, answer: { isWhole } };
};

/** unreadCounts: of all rooms at first and when the list of rooms changes; otherwise only of the rooms with news. */
export const UnreadCountsPlugin = extendSchema((build) => {
  const { sql } = build;
  const unreadCounts = resourceOf(build, "unread_counts");

  function plan($item: Step): Step {
    const $counts = unreadCounts.find() as PgSelectStep;
    const $roomIds = lambda($item, (item) => changedRooms(item as LiveItem));
    const $wanted = $counts.placeholder($roomIds, listOfCodec(TYPES.uuid));
    $counts.where(sql`(${$wanted} is null or ${$counts.alias}.room_id = any (${$wanted}))`);
    $counts.orderBy({ attribute: "room_id", direction: "DESC" });
    $counts.setFirst(constant(MAX_ROOMS));
    const $found = valuesOf($counts, ($count) => $count.get("room_id"));
    return new ReadingStep($item, [$found], { $counts }, reportCounts);
  }

  return {
    typeDefs,
    objects: {
      Subscription: { plans: { unreadCounts: { subscribePlan, plan } } },
      UnreadCountsPayload: { plans: { counts: keptStep("$counts") } },
    },
  };
}, "PlinthUnreadCountsPlugin");

/** Returns the rooms with news; null when the list of rooms itself may have changed. */
function changedRooms({ topics }: LiveItem): string[] | null {
  if (!topics || topics.some((topic) => !topic.startsWith("room:"))) return null;
  return topics.map((topic) => topic.slice("room:".length));
}
