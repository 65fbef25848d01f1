call compat.read_private('headphone', 'private.user_passwords', 'user_id', 'user_id', 'hash_algorithm');

create view compat_headphone.security as
select
  u.number as user_id,
  null::text as salt,
  p.hash_algorithm
from private.user_passwords p
join plinth.external_ids u on u.system = 'headphone' and u.relation = 'users' and u.row_id = p.user_id;

comment on view compat_headphone.security is 'Algorithms of passwords. Grain: one row per account with a password.';
comment on column compat_headphone.security.user_id is 'Number of the account.';
comment on column compat_headphone.security.salt is 'Always null: the hash contains its salt.';
comment on column compat_headphone.security.hash_algorithm is 'Algorithm of the password hash.';

create function compat_headphone.write_security()
  returns trigger
  language plpgsql
  set search_path = pg_catalog
as $$
begin
  perform compat.check_user(compat.row_id('headphone', 'users', new.user_id));
  select v.* into new from compat_headphone.security v where v.user_id = new.user_id;
  return new;
end
$$;

comment on function compat_headphone.write_security() is
  'Trigger: stores nothing, because the hash names its algorithm and contains its salt.';

call compat.write_through('headphone', 'security', 'insert or update');

grant insert, update (salt, hash_algorithm) on compat_headphone.security to :PLINTH_APPLICATION;
