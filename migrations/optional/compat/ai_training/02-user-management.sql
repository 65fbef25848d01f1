-- p is the personal part of the row, which analysts do not join: a plain column, so that a search by address uses its index.
create view compat_ai_training.users as
select
  u.id,
  p.username,
  p.email,
  null::text as password_hash,
  p.profile_data ->> 'first_name' as first_name,
  p.profile_data ->> 'last_name' as last_name,
  p.phone_number as phone,
  u.account_status,
  u.email_verified_at,
  u.phone_verified_at,
  u.failed_login_attempts,
  u.locked_until,
  u.last_login_at,
  u.password_changed_at,
  u.created_at,
  u.updated_at,
  case when u.account_status = 'deleted' then u.updated_at end as deleted_at
from identity.users u
left join identity.users p on p.id = u.id and (select compat.reads_personal_data());

comment on view compat_ai_training.users is 'Accounts. Grain: one row per account.';
comment on column compat_ai_training.users.id is 'Id.';
comment on column compat_ai_training.users.username is 'Name; null for analysts.';
comment on column compat_ai_training.users.email is 'E-mail address; null for analysts.';
comment on column compat_ai_training.users.password_hash is
  'Always null: hashes stay in the schema private, and sign-in verifies passwords. A hash that is inserted or updated is stored.';
comment on column compat_ai_training.users.first_name is 'First name; null for analysts.';
comment on column compat_ai_training.users.last_name is 'Last name; null for analysts.';
comment on column compat_ai_training.users.phone is 'Verified phone number; null for analysts.';
comment on column compat_ai_training.users.account_status is 'State: active, disabled or deleted.';
comment on column compat_ai_training.users.email_verified_at is 'Time when the address was verified; null if never.';
comment on column compat_ai_training.users.phone_verified_at is 'Time when the number was verified; null without one.';
comment on column compat_ai_training.users.failed_login_attempts is 'Number of wrong passwords since the last sign-in.';
comment on column compat_ai_training.users.locked_until is 'Time until which sign-in is locked; null or past if it is not.';
comment on column compat_ai_training.users.last_login_at is 'Time of the last sign-in.';
comment on column compat_ai_training.users.password_changed_at is 'Time when the password was set.';
comment on column compat_ai_training.users.created_at is 'Time when the account was created.';
comment on column compat_ai_training.users.updated_at is 'Time of the last change.';
comment on column compat_ai_training.users.deleted_at is 'Time of the last change of a deleted account; null for others.';

create view compat_ai_training.roles as
select r.id, r.role_name as name, r.description, r.created_at from access.roles r;

comment on view compat_ai_training.roles is 'Roles. Grain: one row per role.';
comment on column compat_ai_training.roles.id is 'Id.';
comment on column compat_ai_training.roles.name is 'Name, such as admin.';
comment on column compat_ai_training.roles.description is 'Purpose of the role.';
comment on column compat_ai_training.roles.created_at is 'Time when the role was created.';

create view compat_ai_training.user_roles as
select ur.user_id, ur.role_id, ur.granted_by, ur.granted_at, ur.expires_at from access.user_roles ur;

comment on view compat_ai_training.user_roles is 'Roles of accounts. Grain: one row per account and role.';
comment on column compat_ai_training.user_roles.user_id is 'The account.';
comment on column compat_ai_training.user_roles.role_id is 'The role.';
comment on column compat_ai_training.user_roles.granted_by is 'The account that granted it; null if the system did.';
comment on column compat_ai_training.user_roles.granted_at is 'Time of the grant.';
comment on column compat_ai_training.user_roles.expires_at is 'Time when the role expires; null if it does not.';

create view compat_ai_training.user_verifications as
select v.id, v.user_id, v.kind as verification_type, null::text as token, v.expires_at, v.used_at as verified_at, v.created_at
from private.user_verifications v;

comment on view compat_ai_training.user_verifications is 'Requests to verify an address or a number, of the last 30 days. Grain: one row per request.';
comment on column compat_ai_training.user_verifications.id is 'Id.';
comment on column compat_ai_training.user_verifications.user_id is 'The account.';
comment on column compat_ai_training.user_verifications.verification_type is 'Kind: email or phone.';
comment on column compat_ai_training.user_verifications.token is 'Always null: only a hash of the token is stored.';
comment on column compat_ai_training.user_verifications.expires_at is 'Time when the link or code expires.';
comment on column compat_ai_training.user_verifications.verified_at is 'Time of the verification; null if there was none.';
comment on column compat_ai_training.user_verifications.created_at is 'Time of the request.';

create view compat_ai_training.password_history as
select h.id, h.user_id, null::text as password_hash, h.created_at from private.password_history h;

comment on view compat_ai_training.password_history is 'Earlier passwords that cannot be chosen again. Grain: one row per password.';
comment on column compat_ai_training.password_history.id is 'Id.';
comment on column compat_ai_training.password_history.user_id is 'The account.';
comment on column compat_ai_training.password_history.password_hash is 'Always null: hashes stay in the schema private.';
comment on column compat_ai_training.password_history.created_at is 'Time when the password was replaced.';

create view compat_ai_training.user_security_settings as
select
  s.user_id,
  f.kind is not null as two_factor_enabled,
  f.kind as two_factor_method,
  null::text as two_factor_secret,
  s.session_timeout_minutes,
  case when (select compat.reads_personal_data()) then s.allowed_networks end as allowed_networks,
  s.created_at,
  s.updated_at
from identity.user_security_settings s
left join lateral (
  select m.kind
  from identity.mfa_factors m
  where m.user_id = s.user_id and m.confirmed_at is not null
  order by m.confirmed_at
  limit 1
) f on true;

comment on view compat_ai_training.user_security_settings is 'Rules for sign-in. Grain: one row per account.';
comment on column compat_ai_training.user_security_settings.user_id is 'The account.';
comment on column compat_ai_training.user_security_settings.two_factor_enabled is 'Whether the account has a second factor.';
comment on column compat_ai_training.user_security_settings.two_factor_method is 'Its kind: totp or passkey; null without one.';
comment on column compat_ai_training.user_security_settings.two_factor_secret is
  'Always null: secrets stay in the schema private.';
comment on column compat_ai_training.user_security_settings.session_timeout_minutes is
  'Idle time in minutes after which a session ends; null for the default.';
comment on column compat_ai_training.user_security_settings.allowed_networks is
  'Networks from which sign-in is accepted; null for any, and for analysts.';
comment on column compat_ai_training.user_security_settings.created_at is 'Time when the row was created.';
comment on column compat_ai_training.user_security_settings.updated_at is 'Time of the last change.';
