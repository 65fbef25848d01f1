import { type TestDatabase, withClient } from "./database.ts";

/** Records calls of the ledger in private.ledger_calls, in order; the ledger itself works as before. */
export async function recordLedgerCalls(db: TestDatabase): Promise<void> {
  await withClient(db.url("owner"), (client) => client.query(RECORDER));
}

const RECORDER = `
  create table private.ledger_calls (
    id bigint generated always as identity primary key,
    call text not null,
    user_id uuid not null,
    amount bigint,
    starts_at timestamptz,
    expires_at timestamptz
  );
  create function private.record_ledger_call() returns trigger language plpgsql security definer as $$
  begin
    if tg_table_name = 'token_grants' then
      insert into private.ledger_calls (call, user_id, amount, starts_at, expires_at)
      values ('grant', new.user_id, new.amount, new.starts_at, new.expires_at);
    else
      insert into private.ledger_calls (call, user_id, amount, starts_at, expires_at)
      values ('close', new.user_id, (new.arguments ->> 2)::bigint, to_timestamp((new.arguments ->> 1)::double precision),
        to_timestamp((new.arguments ->> 3)::double precision));
    end if;
    return null;
  end $$;
  create trigger record_grant after insert on billing.token_grants
    for each row when (new.source = 'plan') execute function private.record_ledger_call();
  create trigger record_close after insert on private.usage_keys
    for each row when (new.operation = 'close_grant') execute function private.record_ledger_call();`;
