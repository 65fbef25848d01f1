import { defineStep } from "../mapping.ts";
import { ref } from "../references.ts";
import { accountsStep } from "../users/accounts-step.ts";

/** The row of `security` belongs to the password: its salt, and the algorithm of a hash that does not name its own. */
export const users = accountsStep({
  relation: "users",
  key: ["id"],
  columns: {
    id: "id",
    username: "text",
    email: "text?",
    password_hash: "text?",
    salt: "text?",
    created_at: "time?",
    "security.salt": "text?",
    "security.hash_algorithm": "text?",
  },
  joins: { security: { user_id: "id" } },
  account: (row) => ({
    name: row.username,
    email: row.email,
    password: row.password_hash
      ? {
          hash: row.password_hash,
          salt: row["security.salt"] ?? row.salt,
          algorithm: row["security.hash_algorithm"] ?? "argon2",
        }
      : null,
    createdAt: row.created_at,
  }),
});

/** A person may have several rows; the newest one counts. */
export const preferences = defineStep({
  relation: "preferences",
  key: ["id"],
  order: `"preferences"."updated_at" desc, "preferences"."id" desc`,
  columns: { id: "id", user_id: "id", preferences_data: "text?", updated_at: "time?" },
  targets: [{ table: "identity.user_settings", write: "update", by: ["user_id"] }],
  map: (row) => ({
    values: [
      {
        user_id: ref("users", row.user_id),
        preferences: preferencesOf(row.preferences_data),
        ...(row.updated_at === null ? {} : { updated_at: row.updated_at }),
      },
    ],
  }),
});

/** The document allows any text: one that is no JSON object is kept under the column's name. */
function preferencesOf(data: string | null): unknown {
  if (data === null) return {};
  let value: unknown;
  try {
    value = JSON.parse(data);
  } catch {
    value = data;
  }
  const isObject = typeof value === "object" && value !== null && !Array.isArray(value);
  return isObject ? value : { preferences_data: value };
}
