import type { Call } from "../mapping.ts";

const ITEMS = `jsonb_to_recordset($1) e (n integer, "values" jsonb)
  cross join lateral jsonb_to_record(e."values") v (message_id uuid, user_id uuid, role text, tokens_used integer)`;

/**
 * Stores the tokens of messages that were paid for elsewhere. An answer is claimed as counted first: otherwise the quota of the
 * current month would pay for the whole history.
 */
export const KEEP_TOKENS: Call = {
  sql: `
    with item as (
      select e.n, v.* from ${ITEMS}
    ),
    claimed as materialized (
      select
        private.lock_usage(i.user_id, now()) as locked,
        private.claim_message(
          jsonb_populate_record(
            null::billing.usage_events, jsonb_build_object('user_id', i.user_id, 'message_id', i.message_id)
          ),
          now()
        ) as claimed
      from item i
      where i.role = 'assistant'
    )
    update llm.messages m
    set tokens_used = i.tokens_used
    from item i
    where m.id = i.message_id and (select count(*) from claimed) is not null
    returning i.n`,
  check: `
    select e.n from ${ITEMS}
    left join llm.messages m on m.id = v.message_id
    where m.tokens_used is distinct from v.tokens_used`,
};
