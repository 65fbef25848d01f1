drop function
  identity.set_account_status(uuid, text),
  access.grant_role(uuid, text, timestamptz),
  access.revoke_role(uuid, text);
drop table access.user_roles, access.role_permissions, access.permissions, access.roles;
drop function access.audit_user_role(), access.audit_role_permission(), access.audit_deleted_role();
