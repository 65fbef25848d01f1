import { type AnyStep, defineStep } from "../mapping.ts";
import { ref } from "../references.ts";
import { bounded, createLosses } from "./text.ts";

/** A key of lower case letters, digits and underscores. */
function skillKey(name: string): string {
  const key = name
    .normalize("NFKD")
    .replace(/\p{M}/gu, "")
    .toLowerCase()
    .replace(/[^a-z0-9]+/g, "_")
    .replace(/^[^a-z]+|_+$/g, "");
  return key.slice(0, 100);
}

export const skillsStep: AnyStep = defineStep({
  relation: "skills",
  key: ["id"],
  columns: { id: "id", skill_name: "text" },
  targets: [{ table: "learning.skills", write: "find or insert", by: ["skill_name"] }],
  map({ skill_name: name }) {
    const key = skillKey(name!);
    if (key === "") return { omitted: "no key of Latin letters can be made of its name" };
    const { losses, lose } = createLosses();
    if (key !== name) lose("skill_name", "was changed to a key; the display name keeps it");
    const title = key === name ? null : name!.trim().slice(0, 200);
    return { values: [{ skill_name: key, display_name: title }], losses };
  },
});

const STATUSES = ["pending", "active", "completed"];

/** Before the levels: a completed training adds evidence, and the level of the source is the last word. */
export const trainingStep: AnyStep = defineStep({
  relation: "training",
  key: ["user_id", "skill_id"],
  columns: {
    user_id: "id",
    skill_id: "id",
    status: "text?",
    progress: "number?",
    started_at: "time?",
    completed_at: "time?",
  },
  targets: [{ table: "learning.training", write: "insert" }],
  map(row) {
    const { losses, lose } = createLosses();
    let status = row.status ?? "pending";
    if (!STATUSES.includes(status)) {
      lose("status", "is unknown, so the training is pending");
      status = "pending";
    }
    let progress = Number(bounded(row.progress ?? 0, [0, 1], "progress", lose).toFixed(4));
    if (status === "active" && progress === 1) status = "completed";
    if (status === "completed" && progress !== 1) {
      lose("progress", "was set to 1, because the training is completed");
      progress = 1;
    }
    if (status === "pending" && progress === 1) {
      lose("progress", "was set below 1, because the training is pending");
      progress = 0.9999;
    }
    const startedAt = row.started_at ?? row.completed_at;
    return {
      values: [
        {
          user_id: ref("users", row.user_id),
          skill_id: ref("skills", row.skill_id),
          status,
          progress,
          // The database sets the time that is missing, as for any new training.
          ...(status === "pending" || startedAt === null ? {} : { started_at: startedAt }),
          ...(status === "completed" && row.completed_at !== null ? { completed_at: row.completed_at } : {}),
        },
      ],
      losses,
    };
  },
});

const SKILL = `
  from jsonb_to_recordset($1::jsonb) e (n integer, values jsonb)
  cross join lateral jsonb_populate_record(null::learning.user_skills, e.values) v`;

/** The database adds evidence for a level that is written directly. */
export const userSkillsStep: AnyStep = defineStep({
  relation: "user_skills",
  key: ["user_id", "skill_id"],
  columns: { user_id: "id", skill_id: "id", level: "number?" },
  targets: [
    {
      sql: `with item as (select e.n, v.user_id, v.skill_id, v.level ${SKILL}),
        stored as (
          insert into learning.user_skills as s (user_id, skill_id, level)
          select i.user_id, i.skill_id, i.level from item i
          on conflict (user_id, skill_id) do update set level = excluded.level
          returning s.user_id, s.skill_id
        )
        select i.n from item i join stored using (user_id, skill_id)`,
      check: `select e.n ${SKILL}
        left join learning.user_skills s on s.user_id = v.user_id and s.skill_id = v.skill_id
        where s.level is distinct from v.level`,
    },
  ],
  map(row) {
    const { losses, lose } = createLosses();
    const level = Number(bounded(row.level ?? 0, [0, 10], "level", lose).toFixed(2));
    return {
      values: [{ user_id: ref("users", row.user_id), skill_id: ref("skills", row.skill_id), level }],
      losses,
    };
  },
});

export const preferencesStep: AnyStep = defineStep({
  relation: "user_preferences",
  key: ["id"],
  columns: {
    id: "id",
    user_id: "id",
    preference_type: "text",
    preference_key: "text",
    preference_value: "json?",
    confidence: "number?",
    created_at: "time?",
    updated_at: "time?",
  },
  targets: [{ table: "identity.user_preferences", write: "insert" }],
  map(row) {
    if (row.preference_value === null) return { omitted: "its preference_value is missing or not JSON" };
    const { losses, lose } = createLosses();
    const confidence = bounded(row.confidence ?? 0, [0, 1], "confidence", lose);
    const createdAt = row.created_at ?? row.updated_at;
    return {
      values: [
        {
          user_id: ref("users", row.user_id),
          preference_type: row.preference_type,
          preference_key: row.preference_key,
          preference_value: row.preference_value,
          confidence,
          ...(createdAt === null ? {} : { created_at: createdAt, updated_at: row.updated_at ?? createdAt }),
        },
      ],
      losses,
    };
  },
});
