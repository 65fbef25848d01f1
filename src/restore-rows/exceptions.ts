/**
 * Tables whose rows are never brought back, because each would act a second time: mail would be sent again, and links, codes and
 * tokens that were used or revoked since would be valid again.
 */
export const NEVER_RESTORED: ReadonlySet<string> = new Set([
  "identity.account_deletions",
  "llm.message_deltas",
  "private.mail_outbox",
  "private.oauth_states",
  "private.passkey_challenges",
  "private.password_reset_tokens",
  "private.refresh_tokens",
  "private.room_turns",
  "private.sign_in_challenges",
  "private.token_blacklist",
  "private.turns",
  "private.user_verifications",
]);

/**
 * References to an account that no longer exists. A row with one in this list returns without the account, changed as the deletion
 * of the account would have changed it; see private.leave_rooms_of_user. Any other such row is left out, because it
 * may hold what was erased with the account.
 */
export const WITHOUT_ACCOUNT: Readonly<Record<string, Readonly<Record<string, string>>>> = {
  "rooms.chat_rooms.creator_id": {},
  "rooms.room_bans.banned_by": {},
  "rooms.room_message_revisions.actor_id": {},
  "rooms.room_messages.sender_id": {
    content: "''",
    metadata: "'{}'",
    is_deleted: "true",
    deleted_at: "coalesce(deleted_at, now())",
    idempotency_key: "null",
  },
};
