create function compat_cedrina.key_text(key_hash bytea, metadata jsonb)
  returns varchar
  language sql
  immutable
  parallel safe
  set search_path = pg_catalog
as $$
  select coalesce(key_text.metadata #>> '{cedrina,key_hash}', encode(key_text.key_hash, 'hex'))
$$;

comment on function compat_cedrina.key_text(bytea, jsonb) is
  'Returns the hash of a key as the application wrote it; for a limit of Plinth, in hexadecimal.';
grant execute on function compat_cedrina.key_text(bytea, jsonb) to :PLINTH_APPLICATION;

-- A column, because an index on the expression would find nothing: below a policy, only a comparison that is leakproof uses an
-- index. The column and its index are dropped with the function.
alter table security.rate_limit_records
  add column cedrina_key varchar not null generated always as (compat_cedrina.key_text(key_hash, metadata)) stored;
comment on column security.rate_limit_records.cedrina_key is 'key_hash as compat_cedrina.rate_limit_records shows it.';
create index rate_limit_records_cedrina_key_idx on security.rate_limit_records (cedrina_key);
comment on index security.rate_limit_records_cedrina_key_idx is 'Finds the rows of compat_cedrina by their keys.';

create view compat_cedrina.rate_limit_records as
select
  compat_cedrina.serial(x.number) as id,
  p.cedrina_key as key_hash,
  coalesce(p.metadata #>> '{cedrina,algorithm}', r.algorithm)::varchar as algorithm,
  r.window_start,
  r.window_end,
  r.request_count::integer as request_count,
  r.limit_value,
  p.metadata - 'cedrina' as metadata,
  r.created_at,
  r.updated_at
from security.rate_limit_records r
join plinth.external_ids x on x.system = 'cedrina' and x.relation = 'rate_limit_records' and x.row_id = r.id
-- Personal data. Joined and not CASE, so that a lookup by key_hash uses its index.
left join security.rate_limit_records p on p.id = r.id and (select compat.reads_personal_data());

comment on view compat_cedrina.rate_limit_records is 'Counters of rate limits. Grain: one row per key, algorithm and window.';
comment on column compat_cedrina.rate_limit_records.id is 'Number of the counter.';
comment on column compat_cedrina.rate_limit_records.key_hash is
  'Hash of the key, as the application wrote it; for a limit of Plinth, SHA-256 in hexadecimal. Null for analysts.';
comment on column compat_cedrina.rate_limit_records.algorithm is
  'Algorithm, as the application wrote it: fixed_window, sliding_window or token_bucket in any spelling.';
comment on column compat_cedrina.rate_limit_records.window_start is 'Start of the window.';
comment on column compat_cedrina.rate_limit_records.window_end is 'End of the window.';
comment on column compat_cedrina.rate_limit_records.request_count is 'Number of requests in the window.';
comment on column compat_cedrina.rate_limit_records.limit_value is 'Limit at the last counted request.';
comment on column compat_cedrina.rate_limit_records.metadata is 'Data of the application (JSON object); null for analysts.';
comment on column compat_cedrina.rate_limit_records.created_at is 'Time when the counter was created.';
comment on column compat_cedrina.rate_limit_records.updated_at is 'Time of the last change.';

create function compat_cedrina.write_rate_limit_records()
  returns trigger
  language plpgsql
  set search_path = pg_catalog
as $$
declare
  v_id uuid;
  v_key_hash bytea;
  v_algorithm text;
  v_tokens numeric;
  v_kept jsonb;
begin
  if tg_op <> 'INSERT' then
    v_id := compat.row_id('cedrina', 'rate_limit_records', old.id);
  end if;
  if tg_op = 'DELETE' then
    delete from security.rate_limit_records r where r.id = v_id;
    return case when found then old end;
  end if;
  v_key_hash := case
    when new.key_hash ~ '^[0-9a-f]{64}$' then decode(new.key_hash, 'hex') else sha256(convert_to(new.key_hash, 'UTF8'))
  end;
  v_algorithm := regexp_replace(lower(new.algorithm collate "C"), '[^a-z]+', '_', 'g');
  new.request_count := coalesce(new.request_count, 1);
  v_tokens := case when v_algorithm = 'token_bucket' then
    new.request_count * trunc(extract(epoch from new.window_end - new.window_start) * 1000000)
  end;
  v_kept := jsonb_strip_nulls(jsonb_build_object(
    'key_hash', nullif(new.key_hash, encode(v_key_hash, 'hex')), 'algorithm', nullif(new.algorithm, v_algorithm)
  ));
  new.metadata := coalesce(new.metadata, '{}') - 'cedrina'
    || case when v_kept = '{}' then v_kept else jsonb_build_object('cedrina', v_kept) end;
  if tg_op = 'INSERT' then
    insert into security.rate_limit_records as r
      (key_hash, algorithm, window_start, window_end, request_count, tokens_used, limit_value, metadata)
    values (
      v_key_hash, v_algorithm, new.window_start, new.window_end, new.request_count, v_tokens, new.limit_value, new.metadata
    )
    returning r.id into v_id;
    perform compat.renumber('cedrina', 'rate_limit_records', v_id, new.id);
  else
    update security.rate_limit_records r
    set
      key_hash = v_key_hash, algorithm = v_algorithm, window_start = new.window_start, window_end = new.window_end,
      request_count = new.request_count, tokens_used = v_tokens, limit_value = new.limit_value, metadata = new.metadata
    where r.id = v_id;
  end if;
  select v.* into new
  from compat_cedrina.rate_limit_records v
  where v.id = compat.number_of('cedrina', 'rate_limit_records', v_id);
  return new;
end
$$;

comment on function compat_cedrina.write_rate_limit_records() is
  'Trigger: writes counters. 23514 for an unknown algorithm, or a count or limit below 1.';

call compat.write_through('cedrina', 'rate_limit_records', 'insert or update or delete');

grant insert, update, delete on compat_cedrina.rate_limit_records to :PLINTH_APPLICATION;
