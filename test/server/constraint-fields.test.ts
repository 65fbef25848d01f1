import { describe, expect, test } from "@jest/globals";
import { ConstraintFields } from "../../src/request/constraint-fields.ts";

const fields = new ConstraintFields();
const add = (table: string, constraint: string, columns: string[], isForeignKey = false) =>
  fields.add({ schema: "llm", table, constraint, isForeignKey, fields: columns });
add("models", "models_provider_id_name_key", ["providerId", "name"]);
add("prompts", "prompts_user_id_name_key", ["userId", "name"]);
add("messages", "messages_chat_id_user_id_fkey", ["chatId", "userId"], true);
add("settings", "settings_user_id_fkey", ["userId"], true);
add("logs", "logs_status_check", ["status"]);

describe("the field of a violated constraint", () => {
  test.each([
    ["is the last column of a unique key", "models", "models_provider_id_name_key", "name"],
    ["is never the owner when there is another column", "prompts", "prompts_user_id_name_key", "name"],
    ["is the reference of a foreign key", "messages", "messages_chat_id_user_id_fkey", "chatId"],
    ["is the owner when there is no other column", "settings", "settings_user_id_fkey", "userId"],
    ["is unknown for an unknown constraint", "models", "models_something", undefined],
  ])("%s", (_what, table, constraint, field) => {
    expect(fields.of({ schema: "llm", table, constraint }).field).toBe(field);
  });
});

test("treats a partition as its table", () => {
  expect(fields.of({ schema: "llm", table: "logs_2026_01", constraint: "logs_status_check" })).toEqual({
    constraint: "logs_status_check",
    field: "status",
  });
  expect(
    fields.of({ schema: "llm", table: "logs_default", constraint: "logs_default_status_check" }),
  ).toEqual({
    constraint: "logs_status_check",
    field: "status",
  });
});

test("names a column as GraphQL does", () => {
  expect(fields.columnField({ column: "input_price_per_million_tokens" })).toBe("inputPricePerMillionTokens");
  expect(fields.columnField({})).toBeUndefined();
  const skills = { schema: "learning", table: "skills" };
  fields.rename({ ...skills, column: "skill_name", field: "name" });
  expect(fields.columnField({ ...skills, column: "skill_name" })).toBe("name");
  expect(fields.columnField({ column: "skill_name" })).toBe("skillName");
});
