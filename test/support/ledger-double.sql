-- Stands in for the token ledger's two functions where a test is about plans: notes what it was asked, once per key.
create table if not exists private.ledger_calls (
  id bigint generated always as identity primary key,
  call text not null,
  user_id uuid not null,
  amount bigint,
  source text,
  source_id uuid,
  starts_at timestamptz,
  expires_at timestamptz,
  idempotency_key text not null unique
);

create or replace function private.grant_tokens(
  user_id uuid, amount bigint, source text, source_id uuid, priority integer, starts_at timestamptz, expires_at timestamptz,
  idempotency_key text
)
  returns uuid
  language sql
  volatile
  security definer
  set search_path = pg_catalog
as $$
  insert into private.ledger_calls (call, user_id, amount, source, source_id, starts_at, expires_at, idempotency_key)
  values ('grant', $1, $2, $3, $4, $6, $7, $8)
  on conflict (idempotency_key) do nothing;
  select md5($8)::uuid;
$$;

create or replace function private.close_plan_grant(
  user_id uuid, source_id uuid, closed_at timestamptz, rollover_limit bigint, rollover_expires_at timestamptz,
  idempotency_key text
)
  returns bigint
  language sql
  volatile
  security definer
  set search_path = pg_catalog
as $$
  insert into private.ledger_calls (call, user_id, amount, source_id, starts_at, expires_at, idempotency_key)
  values ('close', $1, $4, $2, $3, $5, $6)
  on conflict (idempotency_key) do nothing;
  select 0::bigint;
$$;
