import type { Call } from "../mapping.ts";

const ITEMS = `jsonb_to_recordset($1) e (n integer, row_id uuid, "values" jsonb)
  cross join lateral jsonb_to_record(e."values") v (user_id uuid, tokens bigint, key text)`;

/**
 * Tokens used in the current month, so that its quota continues where it was: {user_id, tokens, key}. Their models and cost are unknown.
 * @param origin system and table, which make the key unique
 */
export function usageCall(origin: string): Call {
  const key = `'import ${origin} ' || v.key`;
  return {
    sql: `select e.n from ${ITEMS}
      left join lateral private.record_usage(v.user_id, null, v.tokens, 0, ${key}) u on v.tokens > 0
      where v.tokens >= 0 order by e.n`,
    check: `select e.n from ${ITEMS}
      left join billing.usage_events u on u.user_id = v.user_id and u.idempotency_key = ${key}
      where coalesce(u.total_tokens, 0) <> v.tokens`,
  };
}

/** Whether a count that began at a time is that of the current month (UTC), as quotas are counted here. */
export function isInThisMonth(time: string | null): boolean {
  return time !== null && new Date(time).toISOString().slice(0, 7) === new Date().toISOString().slice(0, 7);
}
