import { isObject } from "../../../support/is-object.ts";
import { defineStep, type Loss } from "../mapping.ts";
import { optionalRef, ref } from "../references.ts";
import { providerNames } from "./provider-names.ts";

const AUTH_TYPES: readonly (string | null)[] = ["none", "api_key", "bearer", "oauth2"];
const URL = /^https?:\/\/\S+$/;

export const providers = defineStep({
  relation: "modelproviders",
  key: ["id"],
  keepsId: true,
  columns: {
    id: "uuid",
    name: "text",
    api_url: "text?",
    auth_type: "text?",
    created_by: "uuid?",
    created_at: "time?",
    is_active: "boolean?",
  },
  targets: [{ table: "llm.model_providers", write: "insert", unverified: ["updated_at"] }],
  prepare: (rows, { client }) =>
    providerNames(
      client,
      rows.map(({ key, row, rowId }) => ({ key, name: row.name?.trim() || "Provider", rowId })),
    ),
  map(row, names, { key }) {
    const losses: Loss[] = [];
    const name = names.get(key)!;
    if (name !== row.name) losses.push({ column: "name", reason: "is taken or has spaces around it" });
    const hasUrl = row.api_url !== null && URL.test(row.api_url);
    if (row.api_url !== null && !hasUrl)
      losses.push({ column: "api_url", reason: "must be an http or https address" });
    const isKnown = AUTH_TYPES.includes(row.auth_type);
    if (row.auth_type !== null && !isKnown)
      losses.push({ column: "auth_type", reason: "is unknown, so the provider has api_key" });
    const createdAt = row.created_at ?? new Date(0).toISOString();
    return {
      values: [
        {
          name,
          api_url: hasUrl ? row.api_url : null,
          auth_type: isKnown ? row.auth_type : "api_key",
          created_by: optionalRef("users", row.created_by),
          is_active: row.is_active ?? true,
          created_at: createdAt,
          updated_at: createdAt,
        },
      ],
      losses,
    };
  },
});

export const models = defineStep({
  relation: "models",
  key: ["id"],
  keepsId: true,
  columns: {
    id: "uuid",
    provider_id: "uuid?",
    name: "text",
    display_name: "text?",
    description: "text?",
    config: "json?",
    created_at: "time?",
    updated_at: "time?",
    is_active: "boolean?",
  },
  targets: [{ table: "llm.models", write: "insert", unverified: ["updated_at"] }],
  map(row) {
    if (row.provider_id === null) return { omitted: "has no provider" };
    const hasConfig = isObject(row.config);
    const createdAt = row.created_at ?? new Date(0).toISOString();
    return {
      values: [
        {
          provider_id: ref("modelproviders", row.provider_id),
          name: row.name?.trim(),
          display_name: row.display_name || row.name,
          description: row.description ?? "",
          config: hasConfig ? row.config : {},
          is_active: row.is_active ?? true,
          created_at: createdAt,
          updated_at: row.updated_at ?? createdAt,
        },
      ],
      losses: row.config === null || hasConfig ? [] : [{ column: "config", reason: "must be a JSON object" }],
    };
  },
});

export const modelAccess = defineStep({
  relation: "usermodelaccess",
  key: ["id"],
  keepsId: true,
  // Of several grants of a model to a user, the newest counts.
  order: "granted_at desc, id",
  columns: {
    id: "uuid",
    user_id: "uuid",
    model_id: "uuid",
    granted_by: "uuid?",
    granted_at: "time?",
    is_active: "boolean?",
  },
  targets: [{ table: "access.user_model_access", write: "insert", unverified: ["granted_by", "granted_at"] }],
  map: (row) =>
    row.user_id === null || row.model_id === null
      ? { omitted: "names no user or no model" }
      : {
          values: [
            {
              user_id: ref("users", row.user_id),
              model_id: ref("models", row.model_id),
              granted_by: optionalRef("users", row.granted_by),
              granted_at: row.granted_at ?? new Date(0).toISOString(),
              is_active: row.is_active ?? true,
            },
          ],
        },
});
