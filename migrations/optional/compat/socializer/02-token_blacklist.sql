-- Revoked tokens of a user are those that the application or the import wrote: a token of Plinth does not name its user here.
drop policy if exists compat_socializer_select on private.token_blacklist;
create policy compat_socializer_select on private.token_blacklist
  for select to :PLINTH_COMPAT
  using (
    (select compat.reads_all())
    or exists (
      select
      from plinth.external_ids x
      where x.system = 'socializer'
        and x.relation = 'token_blacklist'
        and x.row_id = token_blacklist.id
        and x.user_id = (select nullif(current_setting('jwt.claims.user_id', true), '')::uuid)
    )
  );
comment on policy compat_socializer_select on private.token_blacklist is
  'The views of compat_socializer read all rows or the user''s own.';
grant select (id, kind, subject_id, created_at, expires_at) on private.token_blacklist to :PLINTH_COMPAT;

-- A revoked token is found by the text that the application wrote, with an index: it is an external id of the row. Plinth's own rows
-- have the UUID.
insert into plinth.external_ids (system, relation, external_id, row_id, user_id)
select distinct on (b.subject_id) 'socializer', 'token_blacklist_jti', b.subject_id::text, b.id, x.user_id
from private.token_blacklist b
join plinth.external_ids x on x.system = 'socializer' and x.relation = 'token_blacklist' and x.row_id = b.id
where b.kind = 'token'
  and not exists (
    select
    from plinth.external_ids j
    where j.system = 'socializer' and j.relation = 'token_blacklist_jti' and (j.row_id = b.id or j.external_id = b.subject_id::text)
  )
order by b.subject_id, b.id;

create function compat_socializer.keep_jti()
  returns trigger
  language plpgsql
  security definer
  set search_path = pg_catalog
as $$
begin
  insert into plinth.external_ids (system, relation, external_id, row_id)
  select 'socializer', 'token_blacklist_jti', n.subject_id::text, n.id from new_rows n where n.kind = 'token'
  on conflict do nothing;
  return null;
end
$$;

comment on function compat_socializer.keep_jti() is 'Trigger: keeps the ids of revoked tokens, by which the application finds them.';

create trigger _850_socializer_token_blacklist_jti
  after insert on private.token_blacklist
  referencing new table as new_rows
  for each statement
  execute function compat_socializer.keep_jti();
create trigger _850_socializer_token_blacklist_jti_forget
  after delete on private.token_blacklist
  referencing old table as old_rows
  for each statement
  execute function compat.forget_numbers('socializer', 'token_blacklist_jti', 'id', '');

create view compat_socializer.token_blacklist as
select
  x.number as id,
  j.external_id as jti,
  u.number as user_id,
  b.expires_at,
  b.created_at
from private.token_blacklist b
join plinth.external_ids x on x.system = 'socializer' and x.relation = 'token_blacklist' and x.row_id = b.id
left join plinth.external_ids u on u.system = 'socializer' and u.relation = 'users' and u.row_id = x.user_id
left join plinth.external_ids j
  on j.system = 'socializer'
  and j.relation = 'token_blacklist_jti'
  and j.row_id = b.id
  and (select compat.reads_personal_data())
where b.kind = 'token';

comment on view compat_socializer.token_blacklist is 'Revoked tokens. Grain: one row per token.';
comment on column compat_socializer.token_blacklist.id is 'Number of the row.';
comment on column compat_socializer.token_blacklist.jti is 'Id of the token as the application wrote it; null for analysts. An imported one that is no UUID was replaced by a UUID made of it.';
comment on column compat_socializer.token_blacklist.user_id is 'Number of the token''s user, if the application or an import named one.';
comment on column compat_socializer.token_blacklist.expires_at is 'Time when the token expires; the row is deleted later.';
comment on column compat_socializer.token_blacklist.created_at is 'Time of the revocation.';

create function compat_socializer.revoke_token(jti text, user_id uuid, expires_at timestamptz)
  returns bigint
  language plpgsql
  volatile
  security definer
  set search_path = pg_catalog
as $$
declare
  v_id uuid;
begin
  perform compat.check_user(revoke_token.user_id);
  insert into private.token_blacklist (kind, subject_id, reason, expires_at)
  values (
    'token',
    case
      when revoke_token.jti ~* '^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$' then revoke_token.jti::uuid
      else md5(revoke_token.jti)::uuid
    end,
    'logout',
    coalesce(revoke_token.expires_at, now() + interval '1 day')
  )
  returning id into v_id;
  update plinth.external_ids x
  set
    user_id = revoke_token.user_id,
    external_id = case x.relation when 'token_blacklist_jti' then revoke_token.jti else x.external_id end
  where x.system = 'socializer'
    and x.row_id = v_id
    and (
      x.relation = 'token_blacklist'
      -- A token that is revoked again is found by its first row.
      or x.relation = 'token_blacklist_jti'
        and not exists (
          select
          from plinth.external_ids j
          where j.system = x.system and j.relation = x.relation and j.external_id = revoke_token.jti
        )
    );
  return compat.number_of('socializer', 'token_blacklist', v_id);
end
$$;

comment on function compat_socializer.revoke_token(text, uuid, timestamptz) is 'Revokes a token; returns the number of its row.';
grant execute on function compat_socializer.revoke_token(text, uuid, timestamptz) to :PLINTH_APPLICATION;

create function compat_socializer.write_token_blacklist()
  returns trigger
  language plpgsql
  set search_path = pg_catalog
as $$
declare
  v_number bigint;
begin
  v_number := compat_socializer.revoke_token(new.jti, compat.row_id('socializer', 'users', new.user_id), new.expires_at);
  select v.* into new from compat_socializer.token_blacklist v where v.id = v_number;
  return new;
end
$$;

comment on function compat_socializer.write_token_blacklist() is 'Trigger: revokes a token. Expired rows are deleted by a job.';

call compat.write_through('socializer', 'token_blacklist', 'insert');

grant insert on compat_socializer.token_blacklist to :PLINTH_APPLICATION;
