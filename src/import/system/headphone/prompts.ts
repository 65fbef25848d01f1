import { defineStep } from "../mapping.ts";
import { ref } from "../references.ts";

/** The prompts belong to no person: they become the shared library. */
export const prompts = defineStep({
  relation: "prompts",
  key: ["id"],
  columns: { id: "id", name: "text", content: "text", created_at: "time?" },
  targets: [{ table: "llm.prompts", write: "find or insert", by: ["user_id", "name"] }],
  map: (row) => ({
    values: [
      {
        user_id: null,
        name: row.name?.trim(),
        content: row.content,
        ...(row.created_at === null ? {} : { created_at: row.created_at, updated_at: row.created_at }),
      },
    ],
  }),
});

export const userPrompts = defineStep({
  relation: "user_prompts",
  key: ["user_id", "prompt_id"],
  columns: { user_id: "id", prompt_id: "id", usage_count: "integer?" },
  targets: [{ table: "llm.user_prompts", write: "insert" }],
  map: (row) => ({
    values: [
      {
        user_id: ref("users", row.user_id),
        prompt_id: ref("prompts", row.prompt_id),
        usage_count: row.usage_count ?? 0,
      },
    ],
  }),
});
