create function compat_rovertchat.check_defaults(variadic given text[])
  returns void
  language plpgsql
  stable
  set search_path = pg_catalog
as $$
begin
  if num_nonnulls(variadic check_defaults.given) > 0 then
    raise exception 'Only the application sets ids and times. Leave them out.' using errcode = 'PL403';
  end if;
end
$$;

comment on function compat_rovertchat.check_defaults(text[]) is 'Raises PL403 if a user names a value that the database sets.';

create function compat_rovertchat.utc(value timestamp)
  returns timestamptz
  language sql
  stable
  set search_path = pg_catalog
as $$
  select coalesce(utc.value at time zone 'UTC', now())
$$;

comment on function compat_rovertchat.utc(timestamp) is 'Returns a time of the document, or the present time for null.';
