--!restore private/functions/reserve_tokens.sql
--!restore private/functions/settle_hold.sql
--!restore private/functions/post_usage_event.sql
--!restore private/functions/advance_subscriptions.sql
--!restore private/functions/ensure_current_grants.sql
alter function private.try_lock_usage(uuid) reset all;
--!restore private/functions/try_lock_usage.sql
drop function private.try_lock_account(uuid);
