import { randomUUID } from "node:crypto";
import type pg from "pg";

/** Skills of the demo and the curriculum's tags that teach them. */
const SKILLS = [
  { name: "prompting", label: "Prompting", tag: "prompting" },
  { name: "mathematics", label: "Mathematics", tag: "mathematics" },
  { name: "statistics", label: "Statistics", tag: "statistics" },
  { name: "machine_learning", label: "Machine learning", tag: "machine learning" },
  { name: "deep_learning", label: "Deep learning", tag: "deep learning" },
  { name: "evaluation", label: "Evaluation", tag: "evaluation" },
  { name: "operations", label: "Operations", tag: "operations" },
  { name: "safety", label: "Safety", tag: "safety" },
] as const;

/** Writes the skills of the curriculum and the progress of one account: some items completed, one started, a training in progress. */
export async function writeLearning(client: pg.ClientBase, userId: string): Promise<void> {
  for (const { name, label, tag } of SKILLS)
    await client.query(
      `with skill as (
         insert into learning.skills (skill_name, display_name) values ($1, $2)
         on conflict (skill_name) do update set display_name = excluded.display_name
         returning id
       )
       insert into learning.content_skills (item_id, skill_id)
       select i.id, s.id from learning.content_items i cross join skill s
       where $3 = any (i.tags) and i.content_type <> 'course'
       on conflict do nothing`,
      [name, label, tag],
    );
  await client.query("select set_config('jwt.claims.user_id', $1, true)", [userId]);
  await client.query(
    "select learning.start_training(s.id) from learning.skills s where s.skill_name = 'prompting'",
  );
  const { rows } = await client.query<{ id: string; duration: number | null }>(
    `select i.id, i.duration_seconds as duration
     from learning.content_items i
     join learning.my_content_access a on a.content_id = i.id and a.has_access
     where 'prompting' = any (i.tags) and i.language = 'en' and i.content_type not in ('course', 'video') and i.available_from <= now()
     order by i.level, i.position, i.slug
     limit 4`,
  );
  for (const { id } of rows.slice(0, 3)) await client.query("select learning.complete_item($1)", [id]);
  for (const { id, duration } of rows.slice(3))
    await client.query("select learning.record_heartbeat($1, $2, 0, $3)", [
      id,
      randomUUID(),
      Math.min(120, Math.floor((duration ?? 240) / 2)),
    ]);
  await client.query("select set_config('jwt.claims.user_id', '', true)");
}
