import type pg from "pg";
import type { Stage } from "./staging.ts";

/**
 * Sums that a trigger keeps in rows that are not restored: they are counted anew, because the copy's sums may not fit the rows that
 * were added or deleted since. Triggers must be enabled.
 */
export async function countTotals(live: pg.Client, stages: ReadonlyMap<string, Stage>): Promise<void> {
  for (const [table, column] of [
    ["learning.content_ratings", "item_id"],
    ["learning.content_items", "id"],
  ] as const) {
    const stage = stages.get(table);
    if (!stage) continue;
    await live.query(
      `update learning.content_items i set rating_count = r.number, rating_sum = r.total
       from (
         select s.id, count(r.rating) as number, coalesce(sum(r.rating), 0) as total
         from (select distinct ${column} as id from ${stage.name}) s
         left join learning.content_ratings r on r.item_id = s.id
         group by s.id
       ) r
       where i.id = r.id and (i.rating_count, i.rating_sum) is distinct from (r.number, r.total)`,
    );
  }
}
