import type pg from "pg";
import { type TestDatabase, withClient } from "./database.ts";

/** For tests that count tokens: leaves only the tokens that they grant themselves. */
export const withoutFreeTokens = (db: TestDatabase): Promise<unknown> =>
  withClient(db.url("owner"), (client) =>
    client.query("update billing.subscription_plans set is_active = false where code = 'free'"),
  );

/** Laws that every ledger obeys at every moment; each query returns the rows that break its law. */
const LAWS: Readonly<Record<string, string>> = {
  "no grant gives more than it has": `
    select from billing.token_grants where consumed < 0 or held < 0 or consumed + held > amount`,
  "held is what open holds keep": `
    select from billing.token_grants g
    where held <> (select coalesce(sum(a.tokens), 0) from billing.token_hold_allocations a where a.grant_id = g.id)`,
  "consumed is what events charged": `
    select from billing.token_grants g
    left join (
      select a.grant_id, sum(a.tokens) as tokens
      from billing.usage_events e cross join unnest(e.grant_ids, e.grant_tokens) as a (grant_id, tokens)
      group by 1
    ) charged on charged.grant_id = g.id
    where g.consumed <> coalesce(charged.tokens, 0)`,
  "an event charges what it says": `
    select from billing.usage_events e
    where charged_tokens <> (select coalesce(sum(t), 0) from unnest(e.grant_tokens) t)`,
  "lifetime tokens are the sum of events": `
    select from billing.usage_tracking t
    where lifetime_tokens <> (select coalesce(sum(e.total_tokens), 0) from billing.usage_events e where e.user_id = t.user_id)`,
  "token_count is the sum of the period's events": `
    select from billing.usage_tracking t
    where token_count <> (
      select coalesce(sum(e.total_tokens), 0) from billing.usage_events e
      where e.user_id = t.user_id and e.occurred_at >= t.last_reset)`,
  "days are the sum of their events": `
    select from billing.daily_usage d
    full join (
      select e.user_id, e.model_id, (e.occurred_at at time zone 'UTC')::date as day,
        count(*) filter (where e.kind = 'usage') as requests, sum(e.input_tokens) as input_tokens,
        sum(e.output_tokens) as output_tokens, sum(e.cached_input_tokens) as cached_input_tokens,
        sum(e.reasoning_tokens) as reasoning_tokens, sum(e.total_tokens) as total_tokens,
        sum(e.overdraft_tokens) as overdraft_tokens, coalesce(sum(e.cost), 0) as cost,
        coalesce(sum(e.total_tokens) filter (where not e.is_priced), 0) as unpriced_tokens
      from billing.usage_events e where e.user_id is not null group by 1, 2, 3
    ) e on (e.user_id, e.day) = (d.user_id, d.day) and e.model_id is not distinct from d.model_id
    where d.user_id is not null and (
      d.requests, d.input_tokens, d.output_tokens, d.cached_input_tokens, d.reasoning_tokens, d.total_tokens,
      d.overdraft_tokens, d.cost, d.unpriced_tokens
    ) is distinct from (
      e.requests, e.input_tokens, e.output_tokens, e.cached_input_tokens, e.reasoning_tokens, e.total_tokens,
      e.overdraft_tokens, e.cost, e.unpriced_tokens
    ) or (d.id is null and e.user_id is not null)`,
  "an event adds up": `
    select from billing.usage_events
    where (kind = 'correction') <> (corrects_event_id is not null)
      or kind not in ('usage', 'correction')
      or total_tokens <> input_tokens + output_tokens
      or total_tokens <> charged_tokens + overdraft_tokens
      or is_priced <> (cost is not null)
      or kind = 'usage' and not (
        cached_input_tokens between 0 and input_tokens and reasoning_tokens between 0 and output_tokens
        and overdraft_tokens >= 0)`,
  "a hold is in one of four states": `
    select from billing.token_holds
    where state not in ('open', 'settled', 'released', 'expired') or (state = 'settled') <> (usage_event_id is not null)`,
  "a hold has one event": `
    select from billing.usage_events where hold_id is not null and kind = 'usage' group by hold_id having count(*) > 1`,
  "a settled hold's event names it": `
    select from billing.token_holds h
    where h.state = 'settled' and not exists (
      select from billing.usage_events e where e.id = h.usage_event_id and e.hold_id = h.id and e.created_at = h.settled_at)`,
};

/** The laws that the ledger breaks. */
export async function brokenLaws(client: pg.ClientBase): Promise<string[]> {
  const broken: string[] = [];
  for (const [law, query] of Object.entries(LAWS)) {
    const { rowCount } = await client.query(query);
    if (rowCount) broken.push(`${law}: not for ${rowCount}`);
  }
  return broken;
}

export const brokenLawsAt = (url: string): Promise<string[]> => withClient(url, brokenLaws);
