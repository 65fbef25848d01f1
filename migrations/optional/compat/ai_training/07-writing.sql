-- With the caller's rights: the policies of the tables decide, as in the API.

create function compat_ai_training.write_users()
  returns trigger
  language plpgsql
  set search_path = pg_catalog
as $$
declare
  v_names jsonb := jsonb_strip_nulls(jsonb_build_object('first_name', new.first_name, 'last_name', new.last_name));
  v_status text := case new.account_status when 'suspended' then 'disabled' else new.account_status end;
begin
  if tg_op = 'DELETE' then
    delete from identity.users u where u.id = old.id;
    return case when found then old end;
  end if;
  if tg_op = 'INSERT' then
    new.id := compat.create_account(new.username, new.email, new.password_hash, new.created_at);
    -- A new account waits for nothing but the proof of its address.
    v_status := case when v_status = 'pending' then 'active' else coalesce(v_status, 'active') end;
  end if;
  update identity.users u
  set username = new.username, profile_data = u.profile_data - '{first_name,last_name}'::text[] || v_names
  where u.id = new.id;
  if not found then
    return null;
  end if;
  if v_status is distinct from coalesce(old.account_status, 'active') then
    update identity.users u set account_status = v_status where u.id = new.id;
  end if;
  if tg_op = 'UPDATE' and new.email is distinct from old.email then
    perform compat.set_email(new.id, new.email);
  end if;
  if tg_op = 'UPDATE' and new.password_hash is not null then
    perform compat.set_password(new.id, new.password_hash);
  end if;
  select v.* into new from compat_ai_training.users v where v.id = new.id;
  return new;
end
$$;

comment on function compat_ai_training.write_users() is
  'Trigger: creates, changes and erases accounts. A name or address that is taken is rejected (23505).';

call compat.write_through('ai_training', 'users', 'insert or update or delete');

grant insert, update (username, email, password_hash, first_name, last_name, account_status), delete
  on compat_ai_training.users to :PLINTH_APPLICATION;
grant update (username, first_name, last_name) on compat_ai_training.users to :PLINTH_USER;

create function compat_ai_training.write_user_roles()
  returns trigger
  language plpgsql
  set search_path = pg_catalog
as $$
begin
  if tg_op = 'DELETE' then
    perform access.revoke_role(old.user_id, r.role_name) from access.roles r where r.id = old.role_id;
    return old;
  end if;
  perform access.grant_role(new.user_id, r.role_name, new.expires_at) from access.roles r where r.id = new.role_id;
  select v.* into new from compat_ai_training.user_roles v where (v.user_id, v.role_id) = (new.user_id, new.role_id);
  return new;
end
$$;

comment on function compat_ai_training.write_user_roles() is 'Trigger: grants and revokes roles.';

call compat.write_through('ai_training', 'user_roles', 'insert or delete');

grant insert, delete on compat_ai_training.user_roles to :PLINTH_APPLICATION, :PLINTH_USER;

create function compat_ai_training.write_user_security_settings()
  returns trigger
  language plpgsql
  set search_path = pg_catalog
as $$
begin
  update identity.user_security_settings s
  set session_timeout_minutes = new.session_timeout_minutes, allowed_networks = new.allowed_networks
  where s.user_id = old.user_id;
  return case when found then new end;
end
$$;

comment on function compat_ai_training.write_user_security_settings() is 'Trigger: changes the rules for sign-in of an account.';

call compat.write_through('ai_training', 'user_security_settings', 'update');

grant update (session_timeout_minutes, allowed_networks) on compat_ai_training.user_security_settings
  to :PLINTH_APPLICATION, :PLINTH_USER;

create function compat_ai_training.write_user_content_permissions()
  returns trigger
  language plpgsql
  set search_path = pg_catalog
as $$
begin
  if tg_op = 'INSERT' then
    insert into learning.user_content_permissions (user_id, item_id, permission, reason, expires_at)
    values (new.user_id, new.content_id, new.permission, coalesce(new.reason, ''), new.expires_at);
  elsif tg_op = 'UPDATE' then
    update learning.user_content_permissions p
    set permission = new.permission, reason = coalesce(new.reason, ''), expires_at = new.expires_at
    where (p.user_id, p.item_id) = (old.user_id, old.content_id);
    if not found then
      return null;
    end if;
  else
    delete from learning.user_content_permissions p where (p.user_id, p.item_id) = (old.user_id, old.content_id);
    return case when found then old end;
  end if;
  select v.* into new
  from compat_ai_training.user_content_permissions v
  where (v.user_id, v.content_id) = (new.user_id, new.content_id);
  return new;
end
$$;

comment on function compat_ai_training.write_user_content_permissions() is
  'Trigger: allows and denies content to single users.';

call compat.write_through('ai_training', 'user_content_permissions', 'insert or update or delete');

grant insert, update (permission, reason, expires_at), delete on compat_ai_training.user_content_permissions
  to :PLINTH_APPLICATION, :PLINTH_USER;

-- The API's own rules for the user: access to the item, plausible times, one rating per user and item. The id counts once.
create function compat_ai_training.write_content_consumption()
  returns trigger
  language plpgsql
  set search_path = pg_catalog
as $$
declare
  v_before constant text := compat.act_as(new.user_id);
begin
  if tg_op = 'INSERT' then
    perform learning.record_heartbeat(
      new.content_id, coalesce(new.id, gen_random_uuid()), greatest(new.last_position_seconds - new.time_spent_seconds, 0),
      new.last_position_seconds, new.time_spent_seconds, new.last_activity_at
    );
  end if;
  if new.rating is not null then
    perform learning.rate_content(new.content_id, new.rating, new.review);
  end if;
  select v.* into new
  from compat_ai_training.content_consumption v
  where (v.user_id, v.content_id) = (new.user_id, new.content_id)
  order by v.last_activity_at desc
  limit 1;
  perform compat.act_as_before(v_before);
  return new;
end
$$;

comment on function compat_ai_training.write_content_consumption() is
  'Trigger: records that a user played an item, and rates it.';

call compat.write_through('ai_training', 'content_consumption', 'insert or update');

grant insert, update (rating, review) on compat_ai_training.content_consumption to :PLINTH_APPLICATION, :PLINTH_USER;
