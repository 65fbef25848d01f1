drop trigger _100_keep_last_administrator on identity.users;

drop function
  access.can_use_model(uuid),
  access.grant_role(uuid, text, timestamptz),
  access.revoke_role(uuid, text),
  access.usable_model_ids(),
  private.can_user_use_model(uuid, uuid),
  private.guard_last_administrator(uuid),
  private.keep_last_administrator(),
  private.require_administration(uuid);

drop table
  access.user_model_access,
  access.user_roles,
  access.role_permissions,
  access.permissions,
  access.roles;

drop function
  access.audit_deleted_role(),
  access.audit_role_permission(),
  access.audit_user_role(),
  access.keep_role_name();
