import type { Call } from "../mapping.ts";

/**
 * Marks answers as counted before they are written, because their tokens were paid for elsewhere: otherwise the quota of the current
 * month would pay for the whole history. {chat_id, user_id, message_id}. The chats are locked before the ledger, as by every writer.
 */
export const CLAIM_MESSAGES: Call = {
  isFirst: true,
  sql: `
    with item as (
      select e.n, v.*
      from jsonb_to_recordset($1) e (n integer, "values" jsonb)
      cross join lateral jsonb_to_record(e."values") v (chat_id uuid, user_id uuid, message_id uuid)
    ),
    chat as materialized (
      select c.id, c.user_id
      from llm.chats c
      where c.id in (select i.chat_id from item i)
      order by c.user_id, c.id
      for no key update of c
    ),
    locked as materialized (
      select u.user_id, private.lock_usage(u.user_id, now()) as until
      from (select distinct c.user_id from chat c order by c.user_id) u
    ),
    added as (
      insert into private.usage_keys (user_id, operation, idempotency_key, arguments)
      select i.user_id, 'message', i.message_id::text, '{}'
      from item i
      join locked l on l.user_id = i.user_id
      on conflict on constraint usage_keys_pkey do nothing
      returning idempotency_key
    ),
    -- Of a message that was deleted, and whose id is used again.
    taken as materialized (
      select
        private.claim_message(
          jsonb_populate_record(
            null::billing.usage_events, jsonb_build_object('user_id', i.user_id, 'message_id', i.message_id)
          ),
          now()
        ) as claimed
      from item i
      join locked l on l.user_id = i.user_id
      where not exists (select from added a where a.idempotency_key = i.message_id::text)
    )
    select i.n from item i where (select count(*) from taken) is not null`,
};
