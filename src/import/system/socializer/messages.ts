import { isObject } from "../../../support/is-object.ts";
import { type AnyStep, defineStep } from "../mapping.ts";
import { optionalRef, ref } from "../references.ts";
import { NUMBER_MESSAGES } from "./number-messages.ts";
import { createLosses, fitted, type Lose } from "./text.ts";

const MAX_MESSAGE_BYTES = 40_000;
const MAX_GENERAL_BYTES = 4_000;
const MAX_METADATA_BYTES = 20_000;
const SENDERS = ["user", "ai", "system"];
const TYPES = ["text", "invite", "system"];

/** In the order of their times, because a room numbers its messages and their times rise with the numbers. */
export const messagesStep: AnyStep = defineStep({
  relation: "room_messages",
  key: ["id"],
  order: "created_at, id",
  columns: {
    id: "id",
    room_id: "id",
    sender_id: "id?",
    sender_type: "text?",
    message_type: "text?",
    content: "text?",
    metadata: "json?",
    created_at: "time",
    edited_at: "time?",
    is_deleted: "boolean?",
  },
  targets: [
    { table: "rooms.room_messages", write: "insert" },
    { table: "rooms.room_message_revisions", write: "insert" },
    NUMBER_MESSAGES,
  ],
  map(row) {
    const { losses, lose } = createLosses();
    const isDeleted = row.is_deleted === true;
    const content = fitted(row.content ?? "", MAX_MESSAGE_BYTES, "content", lose);
    if (content === "" && !isDeleted) return { omitted: "has no text" };
    const senderType = known(row.sender_type, SENDERS, "user", "sender_type", lose);
    const sender = senderType === "user" ? optionalRef("users", row.sender_id) : null;
    const message = {
      room_id: ref("chat_rooms", row.room_id),
      sender_id: sender,
      sender_type: senderType,
      message_type: known(row.message_type, TYPES, "text", "message_type", lose),
      content: isDeleted ? "" : content,
      metadata: metadataOf(row.metadata, lose),
      is_deleted: isDeleted,
      // The source has no time of deletion.
      deleted_at: isDeleted ? (row.edited_at ?? row.created_at) : null,
      edited_at: row.edited_at,
      created_at: row.created_at,
    };
    // The text of a deleted message stays with its author and the moderators.
    const revision = {
      message_id: ref("room_messages", row.id),
      revision: 1,
      author_id: sender,
      actor_id: sender,
      change: "deleted",
      content,
      created_at: message.deleted_at,
    };
    const { room_id, sender_id, created_at } = message;
    return {
      values: [message, isDeleted && content !== "" ? revision : null, { room_id, sender_id, created_at }],
      losses,
    };
  },
});

function known(
  value: string | null,
  values: readonly string[],
  fallback: string,
  column: string,
  lose: Lose,
): string {
  if (value !== null && values.includes(value)) return value;
  if (value !== null) lose(column, `is unknown, so it is ${fallback}`);
  return fallback;
}

function metadataOf(value: unknown, lose: Lose): object {
  if (value === null) return {};
  if (isObject(value) && Buffer.byteLength(JSON.stringify(value)) <= MAX_METADATA_BYTES) return value;
  lose("metadata", `must be a JSON object of at most ${MAX_METADATA_BYTES} bytes`);
  return {};
}

export const generalChatStep: AnyStep = defineStep({
  relation: "general_chat_messages",
  key: ["id"],
  columns: { id: "id", sender_id: "id?", content: "text?", created_at: "time?" },
  targets: [{ table: "rooms.general_chat_messages", write: "insert" }],
  map(row) {
    if (!row.content) return { omitted: "has no text" };
    const { losses, lose } = createLosses();
    return {
      values: [
        {
          sender_id: optionalRef("users", row.sender_id),
          content: fitted(row.content, MAX_GENERAL_BYTES, "content", lose),
          ...(row.created_at === null ? {} : { created_at: row.created_at }),
        },
      ],
      losses,
    };
  },
});

const ANSWERS = ["pending", "accepted", "declined"];

export const invitesStep: AnyStep = defineStep({
  relation: "room_invites",
  key: ["id"],
  columns: {
    id: "id",
    room_id: "id",
    inviter_id: "id",
    invitee_id: "id",
    message_id: "id?",
    status: "text?",
    created_at: "time?",
  },
  targets: [{ table: "rooms.room_invites", write: "insert", unverified: ["status", "responded_at"] }],
  map(row) {
    const status = row.status ?? "pending";
    if (!ANSWERS.includes(status)) return { omitted: "its status is unknown" };
    if (row.inviter_id === row.invitee_id) return { omitted: "users cannot invite themselves" };
    const createdAt = row.created_at ?? undefined;
    return {
      values: [
        {
          room_id: ref("chat_rooms", row.room_id),
          inviter_id: ref("users", row.inviter_id),
          invitee_id: ref("users", row.invitee_id),
          message_id: optionalRef("room_messages", row.message_id),
          status,
          // The source has no time of the answer.
          responded_at: status === "pending" ? null : (createdAt ?? new Date(0).toISOString()),
          ...(createdAt === undefined ? {} : { created_at: createdAt }),
        },
      ],
    };
  },
});
