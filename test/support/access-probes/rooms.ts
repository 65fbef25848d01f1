import { DENIED, type Probe } from "./probe.ts";

export const ROOMS: Readonly<Record<string, readonly Probe[]>> = {
  "rooms.chat_rooms": [
    ["ada", "select from rooms.chat_rooms", 3],
    ["ada", "update rooms.chat_rooms set name = 'x'", 1],
    // Public, so that it is visible and visibility is not the reason for the rejection.
    ["ada", "update rooms.chat_rooms set id = :new, is_public = true where id = :own", DENIED],
    ["ada", "delete from rooms.chat_rooms", 1],
  ],
  "rooms.room_members": [
    ["ada", "select from rooms.room_members", 3],
    ["ada", "update rooms.room_members set is_muted = true", 1],
    ["ada", "update rooms.room_members set user_id = :new", DENIED],
  ],
  // A message by Bob and a private one by Ada; not Bob's private one, and nothing from the other room.
  "rooms.room_messages": [["ada", "select from rooms.room_messages", 2]],
  "rooms.room_message_recipients": [["ada", "select from rooms.room_message_recipients", 1]],
  "rooms.room_message_mentions": [["ada", "select from rooms.room_message_mentions", 1]],
  "rooms.room_message_reactions": [["ada", "select from rooms.room_message_reactions", 1]],
  "rooms.room_message_revisions": [["ada", "select from rooms.room_message_revisions", 2]],
  "rooms.room_changes": [["ada", "select from rooms.room_changes", 3]],
  "rooms.room_answers": [["ada", "select from rooms.room_answers", 1]],
  "rooms.room_invites": [["ada", "select from rooms.room_invites", 2]],
  "rooms.room_bans": [
    ["ada", "select from rooms.room_bans", 1],
    ["ada", "delete from rooms.room_bans", 1],
    ["ada", "update rooms.room_bans set room_id = :closed", DENIED],
  ],
  // Not her own, which has expired, nor that of a user she has blocked, nor those in other rooms.
  "rooms.typing": [["ada", "select from rooms.typing", 1]],
  // Her own and Bob's.
  "rooms.presence": [["ada", "select from rooms.presence", 2]],
  "rooms.user_blocks": [["ada", "select from rooms.user_blocks", 1]],
  "rooms.user_event_counters": [["ada", "select from rooms.user_event_counters", 1]],
  "rooms.general_chat_messages": [["ada", "select from rooms.general_chat_messages", 2]],
  "rooms.general_chat_revisions": [
    ["ada", "select from rooms.general_chat_revisions", 1],
    ["moderate_general_chat", "select from rooms.general_chat_revisions", 2],
  ],
  "rooms.general_chat_settings": [
    ["ada", "select from rooms.general_chat_settings", 1],
    ["ada", "update rooms.general_chat_settings set slow_mode_seconds = 9", 0],
    ["moderate_general_chat", "update rooms.general_chat_settings set slow_mode_seconds = 9", 1],
  ],
  "rooms.general_chat_mutes": [
    ["ada", "select from rooms.general_chat_mutes", 1],
    ["moderate_general_chat", "delete from rooms.general_chat_mutes", 2],
    ["moderate_general_chat", "insert into rooms.general_chat_mutes (user_id) values (:chief)", DENIED],
    ["ada", "update rooms.general_chat_mutes set reason = 'x'", 0],
  ],
};
