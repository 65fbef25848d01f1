call compat.number_rows('headphone', 'usage_tracking', 'billing.usage_tracking', 'user_id', 'user_id');

create view compat_headphone.usage_tracking as
select
  x.number as id,
  u.number as user_id,
  t.token_count,
  t.last_reset
from billing.usage_tracking t
join plinth.external_ids x on x.system = 'headphone' and x.relation = 'usage_tracking' and x.row_id = t.user_id
join plinth.external_ids u on u.system = 'headphone' and u.relation = 'users' and u.row_id = t.user_id;

comment on view compat_headphone.usage_tracking is 'Tokens used. Grain: one row per account that ever had tokens.';
comment on column compat_headphone.usage_tracking.id is 'Number of the row.';
comment on column compat_headphone.usage_tracking.user_id is 'Number of the account.';
comment on column compat_headphone.usage_tracking.token_count is
  'Tokens used since last_reset. An increase is recorded as usage; 0 starts a new period.';
comment on column compat_headphone.usage_tracking.last_reset is 'Start of the period; the first of each month starts the next.';

create function compat_headphone.add_usage(user_id uuid, tokens bigint)
  returns void
  language plpgsql
  volatile
  security definer
  set search_path = pg_catalog
as $$
declare
  v_locked timestamptz;
begin
  perform compat.check_user(add_usage.user_id);
  v_locked := private.lock_usage(add_usage.user_id, now());
  if tokens > 0 then
    perform private.record_usage(add_usage.user_id, null, add_usage.tokens, 0, plinth.uuid_v7()::text);
  elsif tokens < 0 then
    raise exception 'Recorded usage cannot be lowered, except to 0.' using errcode = 'PL422', column = 'token_count';
  end if;
end
$$;

comment on function compat_headphone.add_usage(uuid, bigint) is
  'Records used tokens; for 0, only creates the row. PL403 if the claims name another user, PL422 for a negative number.';

create function compat_headphone.reset_usage(user_id uuid, last_reset timestamptz)
  returns void
  language plpgsql
  volatile
  security definer
  set search_path = pg_catalog
as $$
begin
  perform compat.check_user(null);
  update billing.usage_tracking t
  set token_count = 0, last_reset = greatest(least(reset_usage.last_reset, now()), t.last_reset)
  where t.user_id = reset_usage.user_id;
end
$$;

comment on function compat_headphone.reset_usage(uuid, timestamptz) is
  'Starts a new period of token_count, now at the latest. PL403 if the application acts for a user.';

grant execute on function compat_headphone.add_usage(uuid, bigint), compat_headphone.reset_usage(uuid, timestamptz)
  to :PLINTH_APPLICATION;

create function compat_headphone.write_usage_tracking()
  returns trigger
  language plpgsql
  set search_path = pg_catalog
as $$
declare
  v_user_id constant uuid := compat.row_id('headphone', 'users', new.user_id);
begin
  if tg_op = 'INSERT' then
    perform compat_headphone.add_usage(v_user_id, coalesce(new.token_count, 0));
    perform compat.renumber('headphone', 'usage_tracking', v_user_id, new.id);
  elsif new.token_count = 0 and old.token_count > 0 then
    perform compat_headphone.reset_usage(
      v_user_id, case when new.last_reset > old.last_reset then new.last_reset else now() end
    );
  else
    perform compat_headphone.add_usage(v_user_id, new.token_count - old.token_count);
  end if;
  select v.* into new from compat_headphone.usage_tracking v where v.user_id = new.user_id;
  return new;
end
$$;

comment on function compat_headphone.write_usage_tracking() is
  'Trigger: records an increase of token_count in the ledger, and starts a new period for 0.';

call compat.write_through('headphone', 'usage_tracking', 'insert or update');

grant insert, update (token_count, last_reset) on compat_headphone.usage_tracking to :PLINTH_APPLICATION;
