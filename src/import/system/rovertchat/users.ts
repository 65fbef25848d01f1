import { type AnyStep, defineStep, type Pending, type Row } from "../mapping.ts";
import { optionalRef, ref } from "../references.ts";
import { accountsStep } from "../users/accounts-step.ts";
import { rolesCall } from "../users/roles-call.ts";

const accounts = accountsStep({
  relation: "users",
  key: ["id"],
  keepsId: true,
  columns: {
    id: "uuid",
    username: "text",
    email: "text?",
    password_hash: "text?",
    role: "text?",
    created_at: "time?",
    last_login: "time?",
    is_active: "boolean?",
    token_version: "integer?",
    "usersettings.display_name": "text?",
    "usersettings.avatar_url": "text?",
    "usersettings.preferences": "json?",
  },
  joins: { usersettings: { user_id: "id" } },
  account: (row) => ({
    name: row.username,
    email: row.email,
    password: row.password_hash === null ? null : { hash: row.password_hash },
    displayName: row["usersettings.display_name"],
    avatarUrl: row["usersettings.avatar_url"],
    preferences: row["usersettings.preferences"],
    createdAt: row.created_at,
    lastLoginAt: row.last_login,
    status: row.is_active === false ? "disabled" : "active",
    tokenVersion: row.token_version,
    roles: row.role === "guest" || row.role === "user" ? [] : [row.role],
  }),
});

/** A guest has no role here. */
export const users: AnyStep = {
  ...accounts,
  async map(row: Row, prepared: unknown, pending: Pending<Row>) {
    const mapped = await accounts.map(row, prepared, pending);
    if ("omitted" in mapped || row.role !== "guest") return mapped;
    return {
      ...mapped,
      values: mapped.values.map((each, place) => (accounts.targets[place] === rolesCall ? null : each)),
    };
  },
};

/** The settings came along with the account, apart from the model, which comes after it. */
export const defaultModels = defineStep({
  relation: "usersettings",
  key: ["user_id"],
  isOptional: true,
  columns: { user_id: "uuid", default_model_id: "uuid?" },
  targets: [{ table: "identity.user_settings", write: "update", by: ["user_id"] }],
  map: (row) => ({
    values: [
      { user_id: ref("users", row.user_id), default_model_id: optionalRef("models", row.default_model_id) },
    ],
  }),
});
