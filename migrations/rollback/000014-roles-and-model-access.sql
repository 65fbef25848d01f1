drop trigger _300_keep_last_administrator on access.user_roles;
drop trigger _301_keep_last_administrator on access.user_roles;
drop trigger _300_keep_last_administrator on identity.users;
drop trigger _300_keep_last_administrator on identity.account_deletions;
drop trigger _100_keep_role on access.roles;
drop trigger _500_audit_required_second_factor on access.roles;
drop trigger _400_give_to_admin on access.permissions;
drop trigger _100_keep_role_management on access.permissions;
drop trigger _101_keep_role_management on access.permissions;
drop trigger _100_keep_role_management on access.role_permissions;
drop trigger _100_sign_grant on access.user_roles;
drop trigger _100_sign_grant on access.user_model_access;
drop trigger _200_check_expiry on access.user_roles;
drop trigger _200_check_expiry on access.user_model_access;
drop trigger _400_limit_model_grant on access.user_model_access;

drop policy select_manager on access.user_roles;
drop policy insert_manager on access.user_roles;
drop policy update_manager on access.user_roles;
drop policy delete_manager on access.user_roles;

--!restore access/functions/has_permission.sql
--!restore access/functions/can_use_model.sql
--!restore access/functions/may_administer.sql
--!restore access/functions/revoke_role.sql
--!restore access/functions/usable_model_ids.sql
--!restore access/private/can_user_use_model.sql
--!restore access/private/guard_last_administrator.sql
--!restore access/policies/permissions.sql
--!restore access/policies/role_permissions.sql
--!restore access/policies/roles.sql
--!restore access/policies/user_model_access.sql
--!restore access/policies/user_roles.sql
--!restore access/triggers/roles.sql
--!restore access/triggers/user_roles.sql
--!restore access/triggers/users.sql
--!restore billing/functions/reserve_tokens.sql
--!restore billing/private/current_plan_code.sql
--!restore billing/private/reserve_tokens.sql
--!restore identity/functions/delete_my_account.sql
--!restore identity/private/delete_due_account.sql

drop view analytics.permission_holders;
drop view access.effective_permissions;

drop function
  access.audit_required_second_factor(),
  access.give_permission_to_admin(),
  access.grant_role(uuid, text, timestamptz, text),
  access.keep_role_management(),
  access.may_assign_permission(uuid, timestamptz),
  access.may_assign_role(uuid, timestamptz),
  access.may_grant_models(timestamptz),
  access.model_access_of(uuid),
  access.user_roles_is_expired(access.user_roles),
  private.guard_last_administrator(),
  private.held_permissions(),
  private.keep_last_administrator_account(),
  private.model_access(uuid),
  private.session_has_second_factor();

drop table access.role_model_access, access.plan_model_access;

drop function
  access.check_expiry(),
  access.limit_model_grant(),
  access.check_plan_code(),
  access.sign_grant();

alter table access.user_model_access
  drop column expires_at,
  drop column reason;

alter table access.user_roles drop column reason;

-- After the arguments of the other function of this name are gone.
--!restore access/functions/grant_role.sql

comment on column access.user_roles.granted_by is
  'The account that granted the role; null if the system granted it or the account was deleted.';
comment on column access.user_roles.granted_at is 'Time of the grant.';
comment on column access.user_model_access.granted_by is
  'The account that granted access; null if the system granted it or the account was deleted.';
comment on column access.user_model_access.granted_at is 'Time of the grant.';
