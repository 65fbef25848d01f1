-- The document joins users for the names of senders and inviters, which the API shows in profiles. Run with the owner's rights, so
-- the role that called is asked: an analyst may set claims too.
create function compat_socializer.acquaintances()
  returns table (id uuid, username text, created_at timestamptz)
  language sql
  stable
  security definer
  set search_path = pg_catalog
as $$
  select u.id, u.username, u.created_at
  from identity.users u
  where u.is_active
    and u.id in (
      select m.user_id from rooms.room_members m where m.room_id in (select rooms.my_room_ids())
      union
      select i.inviter_id from rooms.room_invites i where i.invitee_id = plinth.current_user_id()
      union
      select i.invitee_id from rooms.room_invites i where i.inviter_id = plinth.current_user_id()
    )
    and pg_has_role(coalesce(nullif(current_setting('role'), 'none'), session_user), ':PLINTH_USER', 'usage')
$$;

comment on function compat_socializer.acquaintances() is
  'Returns the names of the users who share a room or an invite with the user of the claims.';
grant execute on function compat_socializer.acquaintances() to :PLINTH_APPLICATION, :PLINTH_USER, :PLINTH_ANALYST;

-- Personal data by outer joins instead of expressions, so that a search for a name or a hash uses an index.
create view compat_socializer.users as
select
  x.number as id,
  p.username,
  null::text as hashed_password,
  h.external_id as hashed_email,
  p.metadata ->> 'hashed_name' as hashed_name,
  null::text as encryption_key,
  null::text as conversation_memory,
  s.llm_provider,
  case when (select compat.reads_personal_data()) then s.llm_endpoint end as llm_endpoint,
  s.llm_model,
  u.created_at,
  u.updated_at
from identity.users u
join plinth.external_ids x on x.system = 'socializer' and x.relation = 'users' and x.row_id = u.id
left join identity.users p on p.id = u.id and (select compat.reads_personal_data())
left join identity.user_settings s on s.user_id = u.id
left join plinth.external_ids h
  on h.system = 'socializer'
  and h.relation = 'users_hashed_email'
  and h.row_id = u.id
  and (select compat.reads_personal_data())
union all
select x.number, a.username, null, null, null, null, null, null, null, null, a.created_at, null
from compat_socializer.acquaintances() a
join plinth.external_ids x on x.system = 'socializer' and x.relation = 'users' and x.row_id = a.id
where not exists (select from identity.users u where u.id = a.id);

comment on view compat_socializer.users is
  'Accounts. Grain: one row per account; users see their own, and only id, username and created_at of those they share a room or an invite with.';
comment on column compat_socializer.users.id is 'Number of the account.';
comment on column compat_socializer.users.username is 'Login name; null for analysts. A name that cannot be one is changed; the display name keeps it.';
comment on column compat_socializer.users.hashed_password is
  'Always null: hashes stay in the schema private, and sign-in verifies passwords. A hash that is inserted or updated is stored.';
comment on column compat_socializer.users.hashed_email is
  'Hash of the address as the application wrote it, or with a key if it was imported; null for analysts, and once the user has signed in with the address.';
comment on column compat_socializer.users.hashed_name is 'Hash of the name that the application wrote; null for analysts.';
comment on column compat_socializer.users.encryption_key is
  'Always null, and ignored when written: Plinth makes the key of a memory and seals it outside the database.';
comment on column compat_socializer.users.conversation_memory is
  'Always null: the memory is encrypted. Use conversationMemory and setConversationMemory of the API.';
comment on column compat_socializer.users.llm_provider is 'Provider of the own model, or null.';
comment on column compat_socializer.users.llm_endpoint is 'Address of the own model, or null; null for analysts.';
comment on column compat_socializer.users.llm_model is 'Name of the own model, or null.';
comment on column compat_socializer.users.created_at is 'Time when the account was created.';
comment on column compat_socializer.users.updated_at is 'Time of the last change.';

create function compat_socializer.login_name(name text)
  returns text
  language sql
  immutable
  security definer
  set search_path = pg_catalog
as $$
  select case
    when plinth.normalize_username(name) ~ '^[a-z0-9]([a-z0-9_.-]{0,98}[a-z0-9])$' then plinth.normalize_username(name)
    else private.username_from(name)
  end
$$;

comment on function compat_socializer.login_name(text) is 'Returns the login name of a name.';

create function compat_socializer.keep_hashed_email(user_id uuid, hashed_email text)
  returns void
  language sql
  volatile
  security definer
  set search_path = pg_catalog
as $$
  select compat.check_user(keep_hashed_email.user_id);
  delete from plinth.external_ids x
  where x.system = 'socializer' and x.relation = 'users_hashed_email' and x.row_id = keep_hashed_email.user_id;
  insert into plinth.external_ids (system, relation, external_id, row_id, user_id)
  select 'socializer', 'users_hashed_email', keep_hashed_email.hashed_email, keep_hashed_email.user_id, keep_hashed_email.user_id
  where keep_hashed_email.hashed_email is not null;
$$;

comment on function compat_socializer.keep_hashed_email(uuid, text) is
  'Stores the application''s hash of an address; 23505 for the hash of another account.';
grant execute on function compat_socializer.login_name(text), compat_socializer.keep_hashed_email(uuid, text) to :PLINTH_APPLICATION;

create function compat_socializer.write_users()
  returns trigger
  language plpgsql
  set search_path = pg_catalog
as $$
declare
  v_id uuid := case when tg_op <> 'INSERT' then compat.row_id('socializer', 'users', old.id) end;
  v_was compat_socializer.users;
  v_before text;
begin
  if tg_op = 'DELETE' then
    delete from identity.users u where u.id = v_id;
    return case when found then old end;
  end if;
  if new.conversation_memory is not null then
    raise exception 'The database cannot encrypt a conversation memory.'
      using errcode = 'PL422', column = 'conversation_memory', hint = 'Use setConversationMemory of the API.';
  elsif new.encryption_key is not null then
    raise notice 'The encryption_key was not stored, because Plinth makes the keys of memories: leave it null.';
  end if;
  if tg_op = 'INSERT' then
    v_id := compat.create_account(compat_socializer.login_name(new.username), null, new.hashed_password, new.created_at);
    perform compat.renumber('socializer', 'users', v_id, new.id);
  else
    v_was := old;
    if new.username is distinct from v_was.username then
      update identity.users u set username = compat_socializer.login_name(new.username) where u.id = v_id;
    end if;
    if new.hashed_password is not null then
      perform compat.set_password(v_id, new.hashed_password);
    end if;
  end if;
  if new.hashed_email is distinct from v_was.hashed_email then
    perform compat_socializer.keep_hashed_email(v_id, new.hashed_email);
  end if;
  if new.hashed_name is distinct from v_was.hashed_name then
    update identity.users u
    set metadata = jsonb_strip_nulls(u.metadata || jsonb_build_object('hashed_name', new.hashed_name))
    where u.id = v_id;
  end if;
  v_before := compat.act_as(v_id);
  update identity.user_settings s
  set
    llm_provider = new.llm_provider,
    llm_endpoint = new.llm_endpoint,
    llm_model = new.llm_model,
    display_name = case
      when new.username is distinct from v_was.username and compat_socializer.login_name(new.username) <> new.username then left(new.username, 100)
      else s.display_name
    end
  where s.user_id = v_id;
  perform compat.act_as_before(v_before);
  select v.* into new from compat_socializer.users v where v.id = compat.number_of('socializer', 'users', v_id);
  return new;
end
$$;

comment on function compat_socializer.write_users() is
  'Trigger: creates, changes and erases accounts. A number in use is rejected (23505), and a name or hash of an address that is taken.';

call compat.write_through('socializer', 'users', 'insert or update or delete');

grant insert, update, delete on compat_socializer.users to :PLINTH_APPLICATION;
