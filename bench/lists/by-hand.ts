/** The filter that the owner of the tables would write for a user, where the policies do not name one owner. `t` is the row. */
export const BY_HAND: Readonly<Record<string, string>> = {
  "billing.active_user_subscriptions": "t.user_id = :me",
  "billing.model_prices": "t.model_id in (select m.id from llm.models m where m.is_active and m.is_public)",
  "billing.usage_limits": "t.user_id is null or t.user_id = :me",
  "identity.consent_purposes": "t.published_at <= now()",
  "learning.content_items":
    "t.available_from <= now() and (t.available_until is null or t.available_until > now())",
  "learning.skills": "t.is_active",
  "llm.model_providers":
    "t.is_active and exists (select from llm.models m where m.provider_id = t.id and m.is_active and m.is_public)",
  "llm.models": "t.is_active and t.is_public",
  "llm.prompt_shares": "t.user_id = :me or t.owner_id = :me",
  "llm.prompts": "t.user_id = :me or t.user_id is null or t.visibility = 'public'",
  "rooms.chat_rooms":
    "t.is_public or t.id in (select m.room_id from rooms.room_members m where m.user_id = :me)",
  "rooms.general_chat_messages": "true",
  "rooms.room_invites": "t.invitee_id = :me or t.inviter_id = :me",
  "rooms.room_members":
    "t.user_id = :me or t.room_id in (select m.room_id from rooms.room_members m where m.user_id = :me)",
  "rooms.room_messages":
    "not t.is_private and exists (select from rooms.room_members m where m.room_id = t.room_id and m.user_id = :me and m.visible_after < t.event_sequence)",
};
