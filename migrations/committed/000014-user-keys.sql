--! Previous: sha1:3e74bc43aff3a4ae9d4dcf8601fd374cb13a636d
--! Hash: sha1:da937f1bd5b9d33ab158c4484d6ec63668590c36
--! Message: user keys

-- A key for each user, sealed by a master key that is not in the database; what is encrypted under it; and addresses known by
-- their hash.

-- One Fernet key per user, made when something is first encrypted for them. Deleting the row shreds what the key encrypted: it
-- is gone for whoever has the database and the master keys. Policies: none, on purpose, as for every table of `private`.
create table private.user_keys (
  id uuid primary key default plinth.uuid_v7(),
  user_id uuid not null references identity.users on delete cascade,
  wrapped_key text not null,
  -- Derived, so that it cannot disagree.
  master_key_version integer not null generated always as (substring(wrapped_key from '^v([0-9]+)')::integer) stored,
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now(),
  constraint user_keys_user_id_key unique (user_id),
  -- Lets what a key encrypts name the key and its owner at once.
  constraint user_keys_id_user_id_key unique (id, user_id),
  constraint user_keys_wrapped_key_is_sealed check (wrapped_key ~ '^v[1-9][0-9]{0,5}[.][A-Za-z0-9_-]{38,}$')
);

alter table private.user_keys enable row level security;

-- "What is still under an old master key?"
create index user_keys_master_key_version_idx on private.user_keys (master_key_version);

comment on table private.user_keys is 'One Fernet key per user with something encrypted; sealed. Deleting a row shreds what it encrypted.';
comment on column private.user_keys.id is 'UUIDv7; a user whose key was shredded gets another one with another id.';
comment on column private.user_keys.user_id is 'Whose key; bound into the seal, so that it opens in no other row.';
comment on column private.user_keys.wrapped_key is 'The Fernet key, sealed by a master key: v<version>.<base64url>.';
comment on column private.user_keys.master_key_version is 'Version of the master key that sealed it.';
comment on column private.user_keys.created_at is 'When the key was made.';
comment on column private.user_keys.updated_at is 'When it was last sealed.';

-- Keys of the whole installation, under which values are looked up without being stored, such as e-mail addresses. Sealed like
-- user keys; rotating the master key changes the seal and never the key, or nobody could be found any more.
create table private.lookup_keys (
  name text primary key,
  sealed_key text not null,
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now(),
  constraint lookup_keys_name_check check (name in ('email')),
  constraint lookup_keys_sealed_key_is_sealed check (sealed_key ~ '^v[1-9][0-9]{0,5}[.][A-Za-z0-9_-]{38,}$')
);

alter table private.lookup_keys enable row level security;

comment on table private.lookup_keys is 'One row per kind of value that is looked up by a keyed hash. Readable by no API role.';
comment on column private.lookup_keys.name is 'email: identity.users.hashed_email.';
comment on column private.lookup_keys.sealed_key is 'The key of the HMAC, sealed by a master key: v<version>.<base64url>.';
comment on column private.lookup_keys.created_at is 'When the key was made.';
comment on column private.lookup_keys.updated_at is 'When it was last sealed.';

-- What an assistant remembers of a user, encrypted under the user's key before it gets here.
create table llm.conversation_memories (
  user_id uuid primary key references identity.users on delete cascade,
  key_id uuid not null,
  memory text not null,
  -- Counts through all rows, so that a memory that was deleted and written anew has a version nobody has seen.
  version bigint not null generated always as identity,
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now(),
  constraint conversation_memories_key_id_user_id_fkey
    foreign key (key_id, user_id) references private.user_keys (id, user_id) on delete cascade,
  -- A Fernet token begins with the byte 0x80 and seven bytes of time of which the upper ones are zero.
  constraint conversation_memories_memory_is_encrypted check (memory ~ '^gAAAA[A-Za-z0-9_-]+={0,2}$'),
  constraint conversation_memories_memory_is_not_too_long check (length(memory) <= 400000)
);

alter table llm.conversation_memories enable row level security;

-- Serves the foreign key.
create index conversation_memories_key_id_user_id_idx on llm.conversation_memories (key_id, user_id);

comment on table llm.conversation_memories is
  E'@behavior -*\nOne row per user with a memory: what an assistant remembers, encrypted under the user''s key.';
comment on column llm.conversation_memories.user_id is 'Whose memory.';
comment on column llm.conversation_memories.key_id is 'The user''s key that encrypted it; the row goes with the key.';
comment on column llm.conversation_memories.memory is 'Fernet token of a JSON document.';
comment on column llm.conversation_memories.version is 'Another one with each change, never used twice.';
comment on column llm.conversation_memories.created_at is 'When the user first had a memory, since it was last deleted.';
comment on column llm.conversation_memories.updated_at is 'When it last changed.';

-- An account can be found by its address without the address being stored. In both modes unique: an address has one account.
alter table identity.users
  add column hashed_email bytea,
  add constraint users_hashed_email_key unique (hashed_email),
  add constraint users_hashed_email_is_hmac_sha256 check (octet_length(hashed_email) = 32);

comment on column identity.users.hashed_email is
  E'@behavior -*\nHMAC-SHA256 of the address under a key of this installation; finds the account where no address is kept.';
comment on constraint users_hashed_email_key on identity.users is E'@behavior -*';

drop function private.find_login(text);
drop function private.register_user(text, text, text, text, text);

--! Included private/functions/user_keys.sql
-- A user's own encryption key. The service seals and opens it: the database has never seen the key itself.
create or replace function private.find_user_key(user_id uuid)
  returns table (key_id uuid, wrapped_key text)
  language sql
  stable
  security definer
  set search_path = pg_catalog
as $$
  select k.id, k.wrapped_key from private.user_keys k where k.user_id = find_user_key.user_id
$$;

comment on function private.find_user_key(uuid) is 'The user''s sealed key; no row when none was made or it was shredded.';
grant execute on function private.find_user_key(uuid) to :PLINTH_SERVICE;

-- The first writer wins: whoever comes second is given the key that is there, so that two servers that make one at the same
-- time encrypt under the same.
create or replace function private.store_user_key(user_id uuid, new_wrapped_key text)
  returns table (key_id uuid, wrapped_key text)
  language plpgsql
  volatile
  security definer
  set search_path = pg_catalog
as $$
#variable_conflict use_column
begin
  insert into private.user_keys (user_id, wrapped_key)
  values (store_user_key.user_id, store_user_key.new_wrapped_key)
  on conflict (user_id) do nothing;
  return query
    select k.id, k.wrapped_key from private.user_keys k where k.user_id = store_user_key.user_id;
end
$$;

comment on function private.store_user_key(uuid, text) is
  'Keeps a sealed key for a user who has none; returns the one that is kept, which may be another''s.';
grant execute on function private.store_user_key(uuid, text) to :PLINTH_SERVICE;

-- Crypto-shredding. What the key encrypted goes with it by its foreign key; a copy elsewhere (a backup made since, a replica's
-- leftovers) can be opened by nobody any more.
create or replace function private.delete_user_key(user_id uuid)
  returns boolean
  language plpgsql
  volatile
  security definer
  set search_path = pg_catalog
as $$
declare
  v_existed boolean;
begin
  -- The account before what belongs to it, as everywhere, so that nobody waits in a circle with who deletes the account.
  perform from identity.users u where u.id = delete_user_key.user_id for key share;
  delete from private.user_keys k where k.user_id = delete_user_key.user_id;
  v_existed := found;
  if v_existed then
    perform private.record_security_event('user_key_shredded', delete_user_key.user_id);
  end if;
  return v_existed;
end
$$;

comment on function private.delete_user_key(uuid) is
  'Deletes a user''s key and all that it encrypted, for good; whether there was one.';
grant execute on function private.delete_user_key(uuid) to :PLINTH_SERVICE;
--! EndIncluded private/functions/user_keys.sql
--! Included private/functions/lookup_keys.sql
-- See the table. Two servers that start at the same time must look up by the same key, so the first writer wins.
create or replace function private.find_lookup_key(name text)
  returns text
  language sql
  stable
  security definer
  set search_path = pg_catalog
as $$
  select k.sealed_key from private.lookup_keys k where k.name = find_lookup_key.name
$$;

comment on function private.find_lookup_key(text) is 'The sealed key of a kind of lookup; null when none was made.';
grant execute on function private.find_lookup_key(text) to :PLINTH_SERVICE;

create or replace function private.store_lookup_key(name text, sealed_key text)
  returns text
  language plpgsql
  volatile
  security definer
  set search_path = pg_catalog
as $$
begin
  insert into private.lookup_keys (name, sealed_key)
  values (store_lookup_key.name, store_lookup_key.sealed_key)
  on conflict on constraint lookup_keys_pkey do nothing;
  return (select k.sealed_key from private.lookup_keys k where k.name = store_lookup_key.name);
end
$$;

comment on function private.store_lookup_key(text, text) is
  'Keeps a sealed key where there is none; returns the one that is kept, which may be another''s.';
grant execute on function private.store_lookup_key(text, text) to :PLINTH_SERVICE;
--! EndIncluded private/functions/lookup_keys.sql
--! Included private/functions/conversation_memories.sql
-- The memory and the key it is encrypted under, of one moment: read one after the other, a memory deleted and written anew in
-- between would meet the wrong key.
create or replace function private.find_conversation_memory(user_id uuid)
  returns table (memory text, wrapped_key text, version bigint, created_at timestamptz, updated_at timestamptz)
  language sql
  stable
  security definer
  set search_path = pg_catalog
as $$
  select m.memory, k.wrapped_key, m.version, m.created_at, m.updated_at
  from llm.conversation_memories m
  join private.user_keys k on k.id = m.key_id
  where m.user_id = find_conversation_memory.user_id
$$;

comment on function private.find_conversation_memory(uuid) is 'A user''s encrypted memory with its sealed key; no row when there is none.';
grant execute on function private.find_conversation_memory(uuid) to :PLINTH_SERVICE;

-- Writes what was encrypted outside. The key is held while that happens: shredded meanwhile, it must not leave a memory behind
-- that nobody can read and whose writer was told that it is kept.
create or replace function private.set_conversation_memory(
  user_id uuid,
  key_id uuid,
  memory text,
  expected_version bigint default null
)
  returns table (version bigint, created_at timestamptz, updated_at timestamptz)
  language plpgsql
  volatile
  security definer
  set search_path = pg_catalog
as $$
#variable_conflict use_column
begin
  -- The account before what belongs to it, as everywhere.
  perform from identity.users u where u.id = set_conversation_memory.user_id for key share;
  perform from private.user_keys k
  where k.id = set_conversation_memory.key_id and k.user_id = set_conversation_memory.user_id
  for key share;
  if not found then
    return;
  end if;

  return query
    update llm.conversation_memories m
    set key_id = set_conversation_memory.key_id, memory = set_conversation_memory.memory, version = default
    where m.user_id = set_conversation_memory.user_id
      and (set_conversation_memory.expected_version is null or m.version = set_conversation_memory.expected_version)
    returning m.version, m.created_at, m.updated_at;
  if found then
    return;
  end if;

  -- A memory to be replaced that is not there, or not the one, is a conflict; none or version 0 asks for a new one.
  if coalesce(set_conversation_memory.expected_version, 0) = 0 then
    return query
      insert into llm.conversation_memories (user_id, key_id, memory)
      values (set_conversation_memory.user_id, set_conversation_memory.key_id, set_conversation_memory.memory)
      on conflict (user_id) do update
        set key_id = excluded.key_id, memory = excluded.memory, version = default
        where set_conversation_memory.expected_version is null
      returning version, created_at, updated_at;
    if found then
      return;
    end if;
  end if;
  raise exception 'The memory was changed in the meantime.'
    using errcode = 'PL409', column = 'expected_version', hint = 'Read it again and repeat the change.';
end
$$;

comment on function private.set_conversation_memory(uuid, uuid, text, bigint) is
  'Writes a user''s encrypted memory; no row when the key is gone. PL409 when its version is not the expected one (0: there is none).';
grant execute on function private.set_conversation_memory(uuid, uuid, text, bigint) to :PLINTH_SERVICE;
--! EndIncluded private/functions/conversation_memories.sql
--! Included private/functions/find_login.sql
-- What the service needs to check a password. It tells nothing of locks or status: those are decided, counted and
-- audited in private.finish_login, after the same work was done for everybody. The token_version goes back there: if it has
-- grown since, the password that was checked may not be the password any more.
-- Always one row, so that the last column is known for unknown accounts too: as long as anybody still has a bcrypt hash, which
-- takes longer to check, the service answers every refusal equally late. An address is looked up by its keyed hash too, which
-- is all there is of it in privacy mode; then the address itself is not even sent here.
create or replace function private.find_login(identifier text, hashed_email bytea default null)
  returns table (
    user_id uuid,
    password_hash text,
    hash_algorithm text,
    token_version integer,
    bcrypt_is_in_use boolean
  )
  language sql
  stable
  security definer
  set search_path = pg_catalog
as $$
  select
    account.id,
    account.password_hash,
    account.hash_algorithm,
    account.token_version,
    exists (select from private.user_passwords b where b.hash_algorithm = 'bcrypt')
  from (values (true)) as always (one)
  left join lateral (
    select u.id, u.token_version, p.password_hash, p.hash_algorithm
    from identity.users u
    join private.user_passwords p on p.user_id = u.id
    -- A username has no @ and an address has one, so at most one account answers to what was typed.
    where u.username = lower(trim(find_login.identifier))
      or u.email = lower(trim(find_login.identifier))
      or u.hashed_email = find_login.hashed_email
    -- An address without a hash yet and another account with the hash of it: the clear one is older.
    order by u.email = lower(trim(find_login.identifier)) desc nulls last
    limit 1
  ) account on true
$$;

comment on function private.find_login(text, bytea) is
  'Password hash of the account with this username, e-mail address or hash of one; one row of nulls when there is none.';
grant execute on function private.find_login(text, bytea) to :PLINTH_SERVICE;

create or replace function private.find_password(user_id uuid)
  returns table (password_hash text, hash_algorithm text, token_version integer)
  language sql
  stable
  security definer
  set search_path = pg_catalog
as $$
  select p.password_hash, p.hash_algorithm, u.token_version
  from private.user_passwords p
  join identity.users u on u.id = p.user_id
  where p.user_id = find_password.user_id
$$;

comment on function private.find_password(uuid) is 'Password hash of an account, to check the current password before a change.';
grant execute on function private.find_password(uuid) to :PLINTH_SERVICE;
--! EndIncluded private/functions/find_login.sql
--! Included private/functions/register_user.sql
-- An account with everything that belongs to it, or nothing.
create or replace function private.register_user(
  username text,
  email text,
  display_name text,
  password_hash text,
  hash_algorithm text,
  -- Without it the account is found by its clear address only.
  hashed_email bytea default null
)
  returns uuid
  language plpgsql
  volatile
  security definer
  set search_path = pg_catalog
as $$
declare
  v_user_id uuid;
begin
  insert into identity.users (username, email, hashed_email, password_changed_at)
  values (register_user.username, register_user.email, register_user.hashed_email, now())
  returning id into v_user_id;

  insert into identity.user_settings (user_id, display_name) values (v_user_id, nullif(trim(register_user.display_name), ''));
  insert into identity.user_security_settings (user_id) values (v_user_id);
  insert into private.user_passwords (user_id, password_hash, hash_algorithm)
  values (v_user_id, register_user.password_hash, register_user.hash_algorithm);
  insert into access.user_roles (user_id, role_id)
  select v_user_id, r.id from access.roles r where r.role_name = 'user';

  perform private.record_security_event('user_registered', v_user_id);
  return v_user_id;
end
$$;

comment on function private.register_user(text, text, text, text, text, bytea) is
  'Makes an account with settings, password and the role user; returns its id. 23505 names the taken field.';
grant execute on function private.register_user(text, text, text, text, text, bytea) to :PLINTH_SERVICE;
--! EndIncluded private/functions/register_user.sql
--! Included identity/triggers/users.sql
-- "Ada " and "ada" are one account, whoever writes the row.
create or replace function identity.normalize_user()
  returns trigger
  language plpgsql
  set search_path = pg_catalog
as $$
begin
  new.username := lower(trim(new.username));
  new.email := lower(trim(new.email));
  return new;
end
$$;

comment on function identity.normalize_user() is 'Trigger: lower case and no surrounding blanks in username and e-mail.';

create or replace trigger _100_normalize
  before insert or update of username, email on identity.users
  for each row
  execute function identity.normalize_user();

-- The hash of another address would lead its owner into this account. Who changes the address gives its hash with it, or the
-- account is found by the clear address only until `plinth keys hash-emails`. Dropping the clear address keeps the hash.
create or replace function identity.drop_stale_email_hash()
  returns trigger
  language plpgsql
  set search_path = pg_catalog
as $$
begin
  if new.hashed_email is not distinct from old.hashed_email then
    new.hashed_email := null;
  end if;
  return new;
end
$$;

comment on function identity.drop_stale_email_hash() is 'Trigger: a changed address does not keep the hash of the one before.';

create or replace trigger _110_drop_stale_email_hash
  before update of email on identity.users
  for each row
  when (new.email is not null and new.email is distinct from old.email)
  execute function identity.drop_stale_email_hash();

-- A version that goes down would bring dead tokens back to life; an account that stops being active loses its tokens.
create or replace function identity.guard_token_version()
  returns trigger
  language plpgsql
  set search_path = pg_catalog
as $$
begin
  if new.account_status <> 'active' and old.account_status = 'active' then
    new.token_version := greatest(new.token_version, old.token_version + 1);
  end if;
  if new.token_version < old.token_version then
    raise exception 'A token version never goes down.'
      using errcode = 'PL422', schema = 'identity', table = 'users', column = 'token_version';
  end if;
  return new;
end
$$;

comment on function identity.guard_token_version() is
  'Trigger: token_version only grows, and grows when an account is disabled or deleted.';

create or replace trigger _200_guard_token_version
  before update of token_version, account_status on identity.users
  for each row
  execute function identity.guard_token_version();
--! EndIncluded identity/triggers/users.sql
--! Included private/triggers/user_keys.sql
-- See plinth.touch_updated_at.
create or replace trigger _900_touch_updated_at
  before update on private.user_keys
  for each row
  execute function plinth.touch_updated_at('master_key_version');

create or replace trigger _900_touch_updated_at
  before update on private.lookup_keys
  for each row
  execute function plinth.touch_updated_at();
--! EndIncluded private/triggers/user_keys.sql
--! Included llm/policies/conversation_memories.sql
-- Written and read through private.set_conversation_memory and private.find_conversation_memory, because only the service can
-- encrypt. The owner may see that there is a memory and when it changed; nobody is granted the ciphertext.
revoke all on llm.conversation_memories from :PLINTH_ANONYMOUS, :PLINTH_USER;
grant select (user_id, version, created_at, updated_at) on llm.conversation_memories to :PLINTH_USER;

drop policy if exists select_own on llm.conversation_memories;
create policy select_own on llm.conversation_memories
  for select to :PLINTH_USER
  using (user_id = (select plinth.current_user_id()));
comment on policy select_own on llm.conversation_memories is 'Users see that they have a memory.';
--! EndIncluded llm/policies/conversation_memories.sql
--! Included llm/triggers/conversation_memories.sql
-- See plinth.touch_updated_at.
create or replace trigger _900_touch_updated_at
  before update on llm.conversation_memories
  for each row
  execute function plinth.touch_updated_at();
--! EndIncluded llm/triggers/conversation_memories.sql
--! Included security/triggers/audit_trail.sql
-- What the audit trail watches, and what of it is not kept. A new table or column is decided here; a test walks all columns
-- of these tables and refuses one whose name sounds like a secret. Arguments: see private.record_data_change.

-- In privacy mode no clear address is kept anywhere, so the trail keeps none either. The JSON columns are the product's and may
-- hold anything. Counters change with each sign-in, which has logs of its own.
create or replace trigger _700_record_data_change
  after insert or update or delete on identity.users
  for each row
  execute function private.record_data_change(
    'id', 'id',
    'failed_login_attempts,locked_until,last_login_at,updated_at,is_active,is_verified',
    'email,hashed_email,profile_data,metadata'
  );

create or replace trigger _700_forget_data_changes
  before delete on identity.users
  for each row
  execute function private.forget_data_changes();

-- An endpoint's address may carry a key.
create or replace trigger _700_record_data_change
  after insert or update or delete on identity.user_settings
  for each row
  execute function private.record_data_change('user_id', 'user_id', 'updated_at', 'preferences,llm_endpoint');

create or replace trigger _700_record_data_change
  after insert or update or delete on identity.user_security_settings
  for each row
  execute function private.record_data_change('user_id', 'user_id', 'updated_at', '');

create or replace trigger _700_record_data_change
  after insert or update or delete on access.roles
  for each row
  execute function private.record_data_change('id', '', '', '');

create or replace trigger _700_record_data_change
  after insert or update or delete on access.permissions
  for each row
  execute function private.record_data_change('id', '', '', '');

create or replace trigger _700_record_data_change
  after insert or update or delete on access.role_permissions
  for each row
  execute function private.record_data_change('role_id,permission_id', '', '', '');

create or replace trigger _700_record_data_change
  after insert or update or delete on access.user_roles
  for each row
  execute function private.record_data_change('user_id,role_id', 'user_id', '', '');

create or replace trigger _700_record_data_change
  after insert or update or delete on access.user_model_access
  for each row
  execute function private.record_data_change('id', 'user_id', '', '');

-- An address may carry a key, and a model's configuration may too.
create or replace trigger _700_record_data_change
  after insert or update or delete on llm.model_providers
  for each row
  execute function private.record_data_change('id', '', 'updated_at', 'api_url');

create or replace trigger _700_record_data_change
  after insert or update or delete on llm.models
  for each row
  execute function private.record_data_change('id', '', 'updated_at', 'config');

create or replace trigger _700_record_data_change
  after insert or update or delete on billing.model_prices
  for each row
  execute function private.record_data_change('id', '', 'updated_at', '');

create or replace trigger _700_record_data_change
  after insert or update or delete on security.rate_limit_rules
  for each row
  execute function private.record_data_change('rule_name', '', 'updated_at', '');

create or replace trigger _700_record_data_change
  after insert or update or delete on security.suspicious_activity_rules
  for each row
  execute function private.record_data_change('rule_name', '', 'updated_at', '');
--! EndIncluded security/triggers/audit_trail.sql
