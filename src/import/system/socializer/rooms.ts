import type { AnyStep, Call, Context, Pending } from "../mapping.ts";
import { defineStep } from "../mapping.ts";
import { optionalRef, ref } from "../references.ts";
import { passwordToStore } from "../users/password.ts";
import { createLosses, type Lose } from "./text.ts";

const TYPES = ["direct", "group", "private"];
const NAMES: Readonly<Record<string, string>> = { group: "Group room", private: "Private room", direct: "" };
const MAX_NAME_LENGTH = 200;

const ITEM = `from jsonb_to_recordset($1::jsonb) e (n integer, values jsonb)
  cross join lateral jsonb_to_record(e.values) v (room_id uuid, room_type text, joined_at timestamptz)`;

/** Of a room whose AI is enabled, even if the source has no row of it. */
const AI_MEMBER: Call = {
  sql: `with item as (select e.n, v.room_id, v.joined_at ${ITEM}),
    added as (
      insert into rooms.room_members (room_id, role, joined_at)
      select i.room_id, 'ai', coalesce(i.joined_at, now()) from item i
    )
    select i.n from item i`,
  check: `select e.n ${ITEM}
    where not exists (select from rooms.room_members m where m.room_id = v.room_id and m.role = 'ai')`,
};

/** Rooms. A direct room becomes one in settledRoomsStep, which knows its members. */
export const roomsStep: AnyStep = defineStep({
  relation: "chat_rooms",
  key: ["id"],
  columns: {
    id: "id",
    creator_id: "id?",
    name: "text?",
    room_type: "text?",
    ai_enabled: "boolean?",
    is_public: "boolean?",
    password: "text?",
    created_at: "time?",
  },
  targets: [
    // Posting, and settledRoomsStep, change them.
    {
      table: "rooms.chat_rooms",
      write: "insert",
      unverified: ["room_type", "ai_enabled", "last_activity_at"],
    },
    AI_MEMBER,
    { table: "private.room_passwords", write: "insert", unverified: ["password_hash"] },
  ],
  prepare: readPasswords,
  async map(row, stored, { rowId }) {
    const { losses, lose } = createLosses();
    const type = TYPES.includes(row.room_type ?? "group") ? (row.room_type ?? "group") : "private";
    if (type !== (row.room_type ?? "group")) lose("room_type", "is unknown, so the room is private");
    const password = row.password ? await passwordOf(row.password, stored, rowId) : undefined;
    if (row.password && (!password || type === "direct"))
      lose(
        "password",
        password
          ? "a direct room has none"
          : "has a format that cannot be verified, so only invited users may join",
      );
    const hasPassword = password !== undefined && type !== "direct";
    // Without its password, a public room would be open to everyone.
    const isPublic = row.is_public === true && type === "group" && (!row.password || hasPassword);
    if (row.is_public && !isPublic)
      lose("is_public", "only a group without a password of an unknown format is public");
    const room = ref("chat_rooms", row.id);
    const isAiEnabled = row.ai_enabled === true;
    return {
      values: [
        {
          creator_id: optionalRef("users", row.creator_id),
          name: nameOf(row.name, type, lose),
          room_type: type === "direct" ? "private" : type,
          is_public: isPublic,
          has_password: hasPassword,
          ai_enabled: isAiEnabled,
          ...(row.created_at === null
            ? {}
            : { created_at: row.created_at, updated_at: row.created_at, last_activity_at: row.created_at }),
        },
        isAiEnabled ? { room_id: room, joined_at: row.created_at } : null,
        hasPassword ? { room_id: room, ...password } : null,
      ],
      losses,
    };
  },
});

/** Ids of the rooms here that have a password. */
async function readPasswords(
  rows: readonly Pending<unknown>[],
  { client }: Context,
): Promise<ReadonlySet<string>> {
  const { rows: found } = await client.query<{ room_id: string }>(
    "select p.room_id from private.room_passwords p where p.room_id = any ($1)",
    [rows.flatMap(({ rowId }) => rowId ?? [])],
  );
  return new Set(found.map(({ room_id }) => room_id));
}

/** Returns the column of the hash; none for a room that is here with its password, because hashing again would cost 50 ms. */
async function passwordOf(
  hash: string,
  stored: ReadonlySet<string>,
  rowId: string | undefined,
): Promise<{ password_hash?: string } | undefined> {
  if (rowId !== undefined) return stored.has(rowId) ? {} : undefined;
  const password = await passwordToStore({ hash });
  return password && { password_hash: password.hash };
}

function nameOf(name: string | null, type: string, lose: Lose): string {
  const clean = name?.replace(/\p{Cc}+/gu, " ").trim();
  if (!clean) return NAMES[type]!;
  if ([...clean].length > MAX_NAME_LENGTH) lose("name", `was shortened to ${MAX_NAME_LENGTH} characters`);
  return [...clean].slice(0, MAX_NAME_LENGTH).join("");
}

const ROLES = ["creator", "member"];

export const membersStep: AnyStep = defineStep({
  relation: "room_members",
  key: ["id"],
  columns: { id: "id", room_id: "id", user_id: "id?", role: "text?", joined_at: "time?" },
  targets: [
    // In a direct room, settledRoomsStep changes the role.
    {
      table: "rooms.room_members",
      write: "find or insert",
      by: ["room_id", "user_id"],
      unverified: ["role"],
    },
  ],
  map(row) {
    if (row.user_id === null && row.role !== "ai")
      return { omitted: "only the AI is a member without an account" };
    const { losses, lose } = createLosses();
    const role =
      row.user_id === null ? "ai" : ROLES.includes(row.role ?? "member") ? (row.role ?? "member") : "member";
    if (role !== (row.role ?? "member")) lose("role", "is unknown, so the user is a member");
    return {
      values: [
        {
          room_id: ref("chat_rooms", row.room_id),
          user_id: ref("users", row.user_id),
          role,
          ...(row.joined_at === null ? {} : { joined_at: row.joined_at }),
        },
      ],
      losses,
    };
  },
});

/** A pair of users has one direct room, which both may use alike; a room with an AI member has its AI enabled. */
export const settledRoomsStep: AnyStep = defineStep({
  relation: "chat_rooms_settled",
  table: "chat_rooms",
  key: ["id"],
  columns: { id: "id", room_type: "text?" },
  targets: [
    {
      sql: `with item as (select e.n, v.room_id, v.room_type ${ITEM}),
        pair as (
          select i.room_id, array_agg(m.user_id order by m.user_id) as users
          from item i
          join rooms.room_members m on m.room_id = i.room_id and m.user_id is not null
          where i.room_type = 'direct'
          group by i.room_id
          having count(*) = 2
        ),
        added as (
          insert into private.direct_rooms (first_user_id, second_user_id, room_id)
          select p.users[1], p.users[2], p.room_id from pair p order by p.room_id
          on conflict do nothing
          returning room_id
        ),
        changed as (
          update rooms.chat_rooms r set room_type = 'direct' from added a where r.id = a.room_id
        )
        select i.n from item i`,
    },
    {
      sql: `with item as (select e.n, v.room_id ${ITEM}),
        changed as (
          update rooms.room_members m
          set role = 'member'
          from item i
          join rooms.chat_rooms r on r.id = i.room_id and r.room_type = 'direct'
          where m.room_id = i.room_id and m.role = 'creator'
        )
        select i.n from item i`,
    },
    {
      sql: `with item as (select e.n, v.room_id ${ITEM}),
        changed as (
          update rooms.chat_rooms r
          set ai_enabled = true
          from item i
          join rooms.room_members m on m.room_id = i.room_id and m.role = 'ai'
          where r.id = i.room_id and not r.ai_enabled
        )
        select i.n from item i`,
    },
  ],
  prepare: readTypes,
  map(row, types, { key }) {
    const { losses, lose } = createLosses();
    if (row.room_type === "direct" && (types.get(key) ?? "direct") !== "direct")
      lose(
        "room_type",
        "was changed to private: a direct room has two members, and each pair of users has one such room",
      );
    const values = { room_id: ref("chat_rooms", row.id), room_type: row.room_type };
    return { values: [values, values, values], losses };
  },
});

/** The type that each room has become, when the import is verified. */
async function readTypes(
  rows: readonly Pending<unknown>[],
  { client, system }: Context,
): Promise<Map<string, string>> {
  const { rows: found } = await client.query<{ external_id: string; room_type: string }>(
    `select e.external_id, r.room_type
     from plinth.external_ids e
     join rooms.chat_rooms r on r.id = e.row_id
     where e.system = $1 and e.relation = 'chat_rooms' and e.external_id = any ($2)`,
    [system, rows.flatMap(({ key, rowId }) => (rowId === undefined ? [] : [key]))],
  );
  return new Map(found.map((row) => [row.external_id, row.room_type]));
}

const MARK = `from jsonb_to_recordset($1::jsonb) e (n integer, values jsonb)
  cross join lateral jsonb_to_record(e.values) v (member_id uuid, last_read_at timestamptz)`;

/** The read marks, which are the number of a message here: once the messages are numbered. */
export const readMarksStep: AnyStep = defineStep({
  relation: "room_members_read",
  table: "room_members",
  key: ["id"],
  columns: { id: "id", last_read_at: "time?" },
  targets: [
    {
      sql: `with item as (select e.n, v.member_id, v.last_read_at ${MARK}),
        changed as (
          update rooms.room_members m
          set
            last_read_at = i.last_read_at,
            last_read_sequence = greatest(m.last_read_sequence, (
              select coalesce(max(g.sequence), 0)
              from rooms.room_messages g
              where g.room_id = m.room_id and g.created_at <= i.last_read_at
            ))
          from item i
          where m.id = i.member_id and i.last_read_at is not null
        )
        select i.n from item i`,
    },
  ],
  map: (row) => ({ values: [{ member_id: ref("room_members", row.id), last_read_at: row.last_read_at }] }),
});
