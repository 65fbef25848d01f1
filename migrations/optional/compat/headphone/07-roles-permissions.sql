call compat.number_rows('headphone', 'roles', 'access.roles');
call compat.number_rows('headphone', 'permissions', 'access.permissions');

create view compat_headphone.roles as
select x.number as id, r.role_name
from access.roles r
join plinth.external_ids x on x.system = 'headphone' and x.relation = 'roles' and x.row_id = r.id;

comment on view compat_headphone.roles is 'Roles. Grain: one row per role.';
comment on column compat_headphone.roles.id is 'Number of the role.';
comment on column compat_headphone.roles.role_name is 'Unique name: lower-case letters, digits and underscores.';

create function compat_headphone.write_roles()
  returns trigger
  language plpgsql
  set search_path = pg_catalog
as $$
declare
  v_id uuid := case when tg_op <> 'INSERT' then compat.row_id('headphone', 'roles', old.id) end;
begin
  if tg_op = 'DELETE' then
    delete from access.roles r where r.id = v_id;
    return case when found then old end;
  end if;
  if tg_op = 'INSERT' then
    insert into access.roles (role_name) values (new.role_name) returning id into v_id;
    new.id := compat.new_number('headphone', 'roles', v_id, new.id);
  else
    update access.roles r set role_name = new.role_name where r.id = v_id;
    if not found then
      return null;
    end if;
    new.id := old.id;
  end if;
  return new;
end
$$;

comment on function compat_headphone.write_roles() is 'Trigger: creates, renames and deletes roles.';

call compat.write_through('headphone', 'roles', 'insert or update or delete');

grant insert, update (role_name), delete on compat_headphone.roles to :PLINTH_APPLICATION, :PLINTH_USER;

create view compat_headphone.permissions as
select x.number as id, p.permission_name
from access.permissions p
join plinth.external_ids x on x.system = 'headphone' and x.relation = 'permissions' and x.row_id = p.id;

comment on view compat_headphone.permissions is 'Permissions. Grain: one row per permission.';
comment on column compat_headphone.permissions.id is 'Number of the permission.';
comment on column compat_headphone.permissions.permission_name is
  'Unique name: lower-case letters, digits and underscores. It does not change, because policies name it.';

create function compat_headphone.write_permissions()
  returns trigger
  language plpgsql
  set search_path = pg_catalog
as $$
declare
  v_id uuid;
begin
  if tg_op = 'DELETE' then
    delete from access.permissions p where p.id = compat.row_id('headphone', 'permissions', old.id);
    return case when found then old end;
  end if;
  insert into access.permissions (permission_name) values (new.permission_name) returning id into v_id;
  new.id := compat.new_number('headphone', 'permissions', v_id, new.id);
  return new;
end
$$;

comment on function compat_headphone.write_permissions() is 'Trigger: creates and deletes permissions.';

call compat.write_through('headphone', 'permissions', 'insert or delete');

grant insert, delete on compat_headphone.permissions to :PLINTH_APPLICATION, :PLINTH_USER;

create view compat_headphone.role_permissions as
select r.number as role_id, p.number as permission_id
from access.role_permissions rp
join plinth.external_ids r on r.system = 'headphone' and r.relation = 'roles' and r.row_id = rp.role_id
join plinth.external_ids p on p.system = 'headphone' and p.relation = 'permissions' and p.row_id = rp.permission_id;

comment on view compat_headphone.role_permissions is 'Permissions of roles. Grain: one row per role and permission.';
comment on column compat_headphone.role_permissions.role_id is 'Number of the role.';
comment on column compat_headphone.role_permissions.permission_id is 'Number of the permission.';

create function compat_headphone.write_role_permissions()
  returns trigger
  language plpgsql
  set search_path = pg_catalog
as $$
begin
  if tg_op = 'DELETE' then
    delete from access.role_permissions rp
    where rp.role_id = compat.row_id('headphone', 'roles', old.role_id)
      and rp.permission_id = compat.row_id('headphone', 'permissions', old.permission_id);
    return case when found then old end;
  end if;
  insert into access.role_permissions (role_id, permission_id)
  values (compat.row_id('headphone', 'roles', new.role_id), compat.row_id('headphone', 'permissions', new.permission_id));
  return new;
end
$$;

comment on function compat_headphone.write_role_permissions() is 'Trigger: adds permissions to roles and removes them.';

call compat.write_through('headphone', 'role_permissions', 'insert or delete');

grant insert, delete on compat_headphone.role_permissions to :PLINTH_APPLICATION, :PLINTH_USER;

create view compat_headphone.user_roles as
select u.number as user_id, r.number as role_id
from access.user_roles ur
join plinth.external_ids u on u.system = 'headphone' and u.relation = 'users' and u.row_id = ur.user_id
join plinth.external_ids r on r.system = 'headphone' and r.relation = 'roles' and r.row_id = ur.role_id
where ur.expires_at is null or ur.expires_at > now();

comment on view compat_headphone.user_roles is 'Roles of accounts that have not expired. Grain: one row per account and role.';
comment on column compat_headphone.user_roles.user_id is 'Number of the account.';
comment on column compat_headphone.user_roles.role_id is 'Number of the role.';

create function compat_headphone.write_user_roles()
  returns trigger
  language plpgsql
  set search_path = pg_catalog
as $$
begin
  if tg_op = 'DELETE' then
    delete from access.user_roles ur
    where ur.user_id = compat.row_id('headphone', 'users', old.user_id)
      and ur.role_id = compat.row_id('headphone', 'roles', old.role_id);
    return case when found then old end;
  end if;
  insert into access.user_roles (user_id, role_id)
  values (compat.row_id('headphone', 'users', new.user_id), compat.row_id('headphone', 'roles', new.role_id));
  return new;
end
$$;

comment on function compat_headphone.write_user_roles() is 'Trigger: grants and revokes roles.';

call compat.write_through('headphone', 'user_roles', 'insert or delete');

grant insert, delete on compat_headphone.user_roles to :PLINTH_APPLICATION, :PLINTH_USER;
