-- Personal data by an outer join instead of an expression, so that a search for a name uses the index.
create view compat_headphone.users as
select
  x.number as id,
  p.username,
  p.email,
  null::text as password_hash,
  null::text as salt,
  u.created_at
from identity.users u
left join identity.users p on p.id = u.id and (select compat.reads_personal_data())
join plinth.external_ids x on x.system = 'headphone' and x.relation = 'users' and x.row_id = u.id;

comment on view compat_headphone.users is 'Accounts. Grain: one row per account.';
comment on column compat_headphone.users.id is 'Number of the account.';
comment on column compat_headphone.users.username is 'Name; null for analysts.';
comment on column compat_headphone.users.email is 'E-mail address; null for analysts.';
comment on column compat_headphone.users.password_hash is
  'Always null: hashes stay in the schema private, and sign-in verifies passwords. A hash that is inserted or updated is stored.';
comment on column compat_headphone.users.salt is 'Always null: the hash contains its salt.';
comment on column compat_headphone.users.created_at is 'Time when the account was created.';

-- With the caller's rights: users may do here what they may do in the API.
create function compat_headphone.write_users()
  returns trigger
  language plpgsql
  set search_path = pg_catalog
as $$
declare
  v_id uuid := case when tg_op <> 'INSERT' then compat.row_id('headphone', 'users', old.id) end;
begin
  if tg_op = 'DELETE' then
    delete from identity.users u where u.id = v_id;
    return case when found then old end;
  end if;
  if tg_op = 'INSERT' then
    v_id := compat.create_account(new.username, new.email, new.password_hash, new.created_at);
    perform compat.renumber('headphone', 'users', v_id, new.id);
  else
    if new.username is distinct from old.username then
      update identity.users u set username = new.username where u.id = v_id;
    end if;
    if new.email is distinct from old.email then
      perform compat.set_email(v_id, new.email);
    end if;
    if new.password_hash is not null then
      perform compat.set_password(v_id, new.password_hash);
    end if;
  end if;
  select v.* into new from compat_headphone.users v where v.id = compat.number_of('headphone', 'users', v_id);
  return new;
end
$$;

comment on function compat_headphone.write_users() is
  'Trigger: creates, changes and erases accounts. A number in use is rejected (23505), and a name or address that is taken.';

call compat.write_through('headphone', 'users', 'insert or update or delete');

grant insert, update (username, email, password_hash, salt), delete on compat_headphone.users to :PLINTH_APPLICATION;
grant update (username) on compat_headphone.users to :PLINTH_USER;
