import { isObject } from "../../../support/is-object.ts";
import { isRole } from "../../chats/imported-chat.ts";
import { defineStep, type Loss } from "../mapping.ts";
import { optionalRef, ref } from "../references.ts";
import { CLAIM_MESSAGES } from "./claim-messages.ts";
import { RECOUNT_DAYS } from "./recount-days.ts";

export const chats = defineStep({
  relation: "chats",
  key: ["id"],
  keepsId: true,
  columns: {
    id: "uuid",
    user_id: "uuid",
    title: "text?",
    created_at: "time?",
    updated_at: "time?",
    is_archived: "boolean?",
  },
  // A message that is newer than the chat's last activity moves it.
  targets: [{ table: "llm.chats", write: "insert", unverified: ["updated_at"] }],
  map(row) {
    if (row.user_id === null) return { omitted: "belongs to no user" };
    const createdAt = row.created_at ?? row.updated_at ?? new Date(0).toISOString();
    return {
      values: [
        {
          user_id: ref("users", row.user_id),
          title: row.title || "Untitled",
          is_archived: row.is_archived ?? false,
          created_at: createdAt,
          updated_at: row.updated_at ?? createdAt,
        },
      ],
    };
  },
});

export const messages = defineStep({
  relation: "messages",
  key: ["id"],
  keepsId: true,
  // Each message is placed after the one before it, as if it were sent now.
  order: '"messages"."chat_id", "messages"."created_at", "messages"."id"',
  columns: {
    id: "uuid",
    chat_id: "uuid",
    role: "text",
    content: "text?",
    thinking: "text?",
    tool_calls: "json?",
    images: "json?",
    model_id: "uuid?",
    created_at: "time?",
    tokens_used: "integer?",
    extended_metadata: "json?",
    "chats.user_id": "uuid?",
    "chats.created_at": "time?",
  },
  joins: { chats: { id: "chat_id" } },
  targets: [{ table: "llm.messages", write: "insert" }, CLAIM_MESSAGES, RECOUNT_DAYS],
  map(row, _, { key }) {
    if (row.chat_id === null || row["chats.user_id"] === null)
      return { omitted: "belongs to no user's chat" };
    if (!isRole(row.role)) return { omitted: "has an unknown role" };
    const losses: Loss[] = [];
    const place = { chat_id: ref("chats", row.chat_id), user_id: ref("users", row["chats.user_id"]) };
    const answer = answerOf(row, losses);
    const tokens = tokensOf(row.tokens_used, losses);
    const createdAt = row.created_at ?? row["chats.created_at"] ?? new Date(0).toISOString();
    return {
      values: [
        {
          ...place,
          role: row.role,
          content: row.content ?? "",
          ...answer,
          images: listOf(row.images),
          tokens_used: tokens,
          created_at: createdAt,
        },
        row.role === "assistant" && tokens !== null ? { ...place, message_id: ref("messages", key) } : null,
        { created_at: createdAt },
      ],
      losses,
    };
  },
});

interface AnswerColumns {
  readonly role: string | null;
  readonly thinking: string | null;
  readonly tool_calls: unknown;
  readonly model_id: string | null;
  readonly extended_metadata: unknown;
}

/** Only an answer has thoughts, calls and a model. Those of another message are kept in its metadata. */
function answerOf(
  { role, thinking, tool_calls, model_id, extended_metadata }: AnswerColumns,
  losses: Loss[],
) {
  const isAnswer = role === "assistant";
  const others = isAnswer
    ? []
    : Object.entries({ thinking, tool_calls, model_id }).filter(([, value]) => value !== null);
  for (const [column] of others)
    losses.push({ column, reason: "belongs to answers: it is kept in extended_metadata" });
  if (extended_metadata !== null && !isObject(extended_metadata))
    losses.push({
      column: "extended_metadata",
      reason: "must be a JSON object: it is kept under the key value",
    });
  return {
    thinking: isAnswer ? thinking : null,
    tool_calls: isAnswer ? listOf(tool_calls) : null,
    model_id: isAnswer ? optionalRef("models", model_id) : null,
    extended_metadata: { ...objectOf(extended_metadata), ...Object.fromEntries(others) },
  };
}

function objectOf(value: unknown): object {
  if (value === null) return {};
  return isObject(value) ? value : { value };
}

/** Plinth has lists only; a single value becomes a list of one. */
function listOf(value: unknown): readonly unknown[] | null {
  if (value === null) return null;
  return Array.isArray(value) ? value : [value];
}

function tokensOf(tokens: number | null, losses: Loss[]): number | null {
  if (tokens === null || (tokens >= 0 && tokens < 2 ** 31)) return tokens;
  losses.push({ column: "tokens_used", reason: "must be a number of tokens" });
  return null;
}
