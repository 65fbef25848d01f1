import { type AnyStep, defineStep, type Loss, type Pending } from "../mapping.ts";
import { ref } from "../references.ts";
import { ROLL_UP_DAY } from "./roll-up.ts";

/** Seconds of an item from its start, as a PostgreSQL multirange. */
const secondsTo = (end: number | null): string => ((end ?? 0) > 0 ? `{[0,${end})}` : "{}");

const isRatingHere = (rating: number | null): boolean => rating !== null && rating >= 1 && rating <= 5;

/** Keys of the rows of a batch, latest first, whose rating is the first of its user and item. */
function latestRatings(
  rows: readonly Pending<{ user_id: string | null; content_id: string | null; rating: number | null }>[],
): ReadonlySet<string> {
  const first = new Map<string, string>();
  for (const { key, row } of rows) {
    const place = `${row.user_id} ${row.content_id}`;
    if (isRatingHere(row.rating) && !first.has(place)) first.set(place, key);
  }
  return new Set(first.values());
}

export const consumption: AnyStep = defineStep({
  relation: "content_consumption",
  key: ["id"],
  // Of several ratings of an item, the latest counts.
  order: "content_consumption.created_at desc, content_consumption.id",
  columns: {
    id: "id",
    user_id: "id",
    content_id: "id",
    started_at: "time",
    last_activity_at: "time",
    time_spent_seconds: "integer?",
    last_position_seconds: "integer?",
    rating: "integer?",
    review: "text?",
    completed_at: "time?",
    created_at: "time",
    "content_items.version": "integer?",
    "learning_analytics.completed_at": "time?",
  },
  joins: {
    content_items: { id: "content_id" },
    learning_analytics: { user_id: "user_id", content_id: "content_id" },
  },
  targets: [
    { table: "learning.content_consumption", write: "insert" },
    {
      table: "learning.content_ratings",
      write: "find or insert",
      unverified: ["rating", "review", "created_at", "updated_at"],
    },
    ROLL_UP_DAY,
  ],
  prepare: (rows) => Promise.resolve(latestRatings(rows)),
  map(row, latest, { key }) {
    const losses: Loss[] = [];
    const isRating = isRatingHere(row.rating);
    // Progress comes along from there.
    if (row.completed_at !== null && row["learning_analytics.completed_at"] === null)
      losses.push({ column: "completed_at", reason: "is not confirmed by learning_analytics" });
    if (row.rating !== null && !isRating) losses.push({ column: "rating", reason: "must be from 1 to 5" });
    const place = { user_id: ref("users", row.user_id), item_id: ref("content_items", row.content_id) };
    return {
      values: [
        {
          ...place,
          version: row["content_items.version"] ?? 1,
          started_at: row.started_at,
          last_activity_at: row.last_activity_at,
          active_seconds: row.time_spent_seconds ?? 0,
          heartbeat_count: 1,
          covered: secondsTo(row.last_position_seconds),
          created_at: row.created_at,
        },
        latest.has(key)
          ? {
              ...place,
              rating: row.rating,
              review: row.review ?? "",
              created_at: row.last_activity_at,
              updated_at: row.last_activity_at,
            }
          : null,
        { time: row.started_at },
      ],
      losses,
    };
  },
});

export const analytics: AnyStep = defineStep({
  relation: "learning_analytics",
  key: ["id"],
  columns: {
    id: "id",
    user_id: "id",
    content_id: "id",
    progress: "number?",
    time_spent_seconds: "integer?",
    average_score: "number?",
    completed_at: "time?",
    first_accessed_at: "time",
    last_accessed_at: "time",
    "content_items.version": "integer?",
    "content_items.duration_seconds": "integer?",
  },
  joins: { content_items: { id: "content_id" } },
  targets: [{ table: "learning.content_progress", write: "insert" }],
  map(row) {
    const losses: Loss[] = [];
    if (row.average_score !== null)
      losses.push({ column: "average_score", reason: "Plinth stores no scores" });
    const duration = row["content_items.duration_seconds"];
    const version = row["content_items.version"] ?? 1;
    const isCompleted = row.completed_at !== null;
    const covered = duration === null ? 0 : Math.round(duration * Math.min(row.progress ?? 0, 1));
    if (duration === null && !isCompleted && (row.progress ?? 0) > 0)
      losses.push({ column: "progress", reason: "without a duration, an item is completed or not" });
    return {
      values: [
        {
          user_id: ref("users", row.user_id),
          item_id: ref("content_items", row.content_id),
          version,
          covered: secondsTo(covered),
          covered_seconds: covered,
          duration_seconds: duration,
          position_seconds: isCompleted ? 0 : covered,
          active_seconds: row.time_spent_seconds ?? 0,
          completed_version: isCompleted ? version : null,
          // Skills were credited there.
          credited_version: isCompleted ? version : null,
          completed_at: row.completed_at,
          started_at: row.first_accessed_at,
          last_activity_at: row.last_accessed_at,
        },
      ],
      losses,
    };
  },
});
