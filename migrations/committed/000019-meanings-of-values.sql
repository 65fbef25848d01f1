--! Previous: sha1:a146eebe21aa0ff22a4d7a317ddd50ad8f70b04f
--! Hash: sha1:d8451b853a5355cb686eaba5de3834c1672eccfd
--! Message: meanings of values

-- The values of states, roles, kinds and reasons, which are enums of the API (plugins/enums): their meanings are comments of the
-- constraints that list them, one line of `value: meaning` each.

comment on constraint payments_status_check on billing.payments is
  E'Status of a payment.\n'
  'pending: Not yet decided by the provider.\n'
  'succeeded: Paid.\n'
  'failed: Rejected by the provider.\n'
  'refunded: Returned in full.\n'
  'partially_refunded: Returned in part.\n'
  'disputed: Contested by the payer at their bank.';

comment on constraint subscription_plans_billing_cycle_check on billing.subscription_plans is
  E'@name billing_cycle\n'
  'Interval at which a plan is paid.\n'
  'monthly: Paid each month.\n'
  'yearly: Paid each year.\n'
  'lifetime: Paid once; never ends.';

comment on constraint usage_limits_period_check on billing.usage_limits is
  E'Period of a usage limit, in UTC.\n'
  'day: A calendar day.\n'
  'month: A calendar month.';

comment on constraint user_subscriptions_status_check on billing.user_subscriptions is
  E'@name subscription_status\n'
  'Status of a subscription.\n'
  'trialing: In its free trial.\n'
  'active: Paid and usable.\n'
  'past_due: Usable in its grace period although a payment failed.\n'
  'paused: Not usable until it is resumed.\n'
  'canceled: Ended by a cancellation.\n'
  'expired: Ended without a cancellation: unpaid, or revoked.';

comment on constraint data_exports_status_check on identity.data_exports is
  E'Status of a data export.\n'
  'pending: Being written.\n'
  'ready: Can be downloaded.\n'
  'failed: Could not be written.\n'
  'expired: Deleted; request a new one.';

comment on constraint mfa_factors_kind_check on identity.mfa_factors is
  E'Kind of a second factor.\n'
  'totp: An authenticator app.\n'
  'passkey: A passkey.';

comment on constraint user_sessions_end_reason_check on identity.user_sessions is
  E'@name session_end_reason\n'
  'Reason a session ended.\n'
  'logout: The user signed out of it.\n'
  'logout_everywhere: The user signed out everywhere.\n'
  'ended_by_user: The user ended it from another session.\n'
  'ended_by_administrator: An administrator ended it.\n'
  'password_changed: The password was changed or reset.\n'
  'token_reuse: A refresh token was used twice, so it may have been copied.\n'
  'account_disabled: The account was disabled.\n'
  'account_deletion: The account is being deleted.\n'
  'expired: It was idle for too long or reached its maximum age.';

comment on constraint users_account_status_check on identity.users is
  E'@name account_status\n'
  'Status of an account.\n'
  'active: Can sign in.\n'
  'disabled: Disabled by an administrator.\n'
  'deleted: Deleted; its data is removed later.';

comment on constraint content_bodies_body_format_check on learning.content_bodies is
  E'Format of a text.\n'
  'markdown: Markdown.\n'
  'html: HTML.\n'
  'text: Plain text.\n'
  'json: JSON.\n'
  'url: The URL of a text that is hosted elsewhere.';

comment on constraint content_items_content_type_check on learning.content_items is
  E'@name content_type\n'
  'Type of a content item.\n'
  'course: A course, made of other items.\n'
  'lesson: A lesson.\n'
  'article: An article.\n'
  'video: A video.\n'
  'exercise: An exercise.\n'
  'quiz: A quiz.\n'
  'project: A project.';

comment on constraint skill_evidence_kind_check on learning.skill_evidence is
  E'Kind of evidence for a skill.\n'
  'initial: The level at the start.\n'
  'assessment: An assessment by a person or the application.\n'
  'training: A completed training.\n'
  'content: Completed content items.\n'
  'adjustment: A level entered by the owner.';

comment on constraint training_status_check on learning.training is
  E'Status of a training.\n'
  'pending: Not started, or paused.\n'
  'active: In progress.\n'
  'completed: Completed.';

comment on constraint user_content_permissions_permission_check on learning.user_content_permissions is
  E'@name content_permission_effect\n'
  'Effect of a content permission.\n'
  'allow: Grants access, as a plan would.\n'
  'deny: Denies access, whatever the plan.';

comment on constraint message_feedback_rating_check on llm.message_feedback is
  E'Rating of an answer.\n'
  'up: Good.\n'
  'down: Bad.';

comment on constraint messages_finish_reason_check on llm.messages is
  E'Reason an answer ended.\n'
  'stop: The model was done.\n'
  'length: The maximum number of tokens was reached.\n'
  'tool_calls: The model calls tools.\n'
  'content_filter: The provider filtered the answer.\n'
  'error: The answer was broken off with an error.\n'
  'expired: The answer was broken off because its lease expired.\n'
  'cancelled: The user cancelled it.';

comment on constraint messages_role_check on llm.messages is
  E'Role of a message''s author.\n'
  'user: The user.\n'
  'assistant: The model.\n'
  'system: Instructions for the model.\n'
  'tool: The result of a tool that the model called.';

comment on constraint messages_state_check on llm.messages is
  E'State of a message.\n'
  'streaming: The answer is being written.\n'
  'complete: The message is complete.\n'
  'broken_off: The answer failed; the text received so far is kept.\n'
  'cancelled: The user cancelled the answer; the text received so far is kept.';

comment on constraint model_providers_auth_type_check on llm.model_providers is
  E'Authentication method of a model provider.\n'
  'none: No authentication.\n'
  'api_key: An API key.\n'
  'bearer: A bearer token.\n'
  'oauth2: OAuth 2.0.';

comment on constraint prompts_prompt_type_check on llm.prompts is
  E'Kind of answer that a prompt asks for.\n'
  'text: Text.\n'
  'structured: Structured data, such as JSON.\n'
  'image: An image.';

comment on constraint prompts_visibility_check on llm.prompts is
  E'Visibility of a prompt.\n'
  'private: Only its owner.\n'
  'shared: Its owner and the users it is shared with.\n'
  'public: Every signed-in user.';

comment on constraint chat_rooms_room_type_check on rooms.chat_rooms is
  E'@name room_type\n'
  'Type of a room.\n'
  'direct: Two users; each pair has one such room.\n'
  'group: Members can invite others.\n'
  'private: Only moderators can invite others.';

comment on constraint general_chat_revisions_change_check on rooms.general_chat_revisions is
  E'@name revision_change\n'
  'Change that replaced an earlier text of a message.\n'
  'edited: The message was edited.\n'
  'deleted: The message was deleted.';

comment on constraint room_message_revisions_change_check on rooms.room_message_revisions is
  E'@name revision_change\n'
  'Change that replaced an earlier text of a message.\n'
  'edited: The message was edited.\n'
  'deleted: The message was deleted.';

comment on constraint presence_status_check on rooms.presence is
  E'Status of a member''s presence.\n'
  'online: Present.\n'
  'away: Signed in, but not active.\n'
  'offline: Not present.';

comment on constraint room_invites_status_check on rooms.room_invites is
  E'Status of an invite.\n'
  'pending: Not yet answered.\n'
  'accepted: The user joined the room.\n'
  'declined: The user declined.';

comment on constraint room_members_role_check on rooms.room_members is
  E'Role of a room''s member.\n'
  'creator: Creator: manages the room and its roles.\n'
  'moderator: Moderator: removes members and messages.\n'
  'member: Member.\n'
  'ai: An AI.';

comment on constraint room_messages_message_type_check on rooms.room_messages is
  E'Type of a room''s message.\n'
  'text: A text.\n'
  'invite: An invite to another room.\n'
  'system: A notice of the system.';

comment on constraint room_messages_sender_type_check on rooms.room_messages is
  E'Type of a message''s sender.\n'
  'user: A user, or a deleted account.\n'
  'ai: An AI.\n'
  'system: The system.';

comment on constraint audit_trail_operation_check on security.audit_trail is
  E'Operation on a row.\n'
  'INSERT: The row was created.\n'
  'UPDATE: The row was changed.\n'
  'DELETE: The row was deleted.';

comment on constraint login_attempts_status_check on security.login_attempts is
  E'Result of a sign-in attempt.\n'
  'success: Signed in.\n'
  'failed: Rejected.\n'
  'locked: Rejected unchecked because the account was locked.\n'
  'challenged: Correct so far; a second factor is required.';

comment on constraint rate_limit_records_algorithm_check on security.rate_limit_records is
  E'@name rate_limit_algorithm\n'
  'Algorithm of a rate limit.\n'
  'fixed_window: Counts requests in fixed windows.\n'
  'sliding_window: Counts requests in a window that ends now.\n'
  'token_bucket: Refills a bucket of tokens at a steady rate.';

comment on constraint rate_limit_rules_algorithm_check on security.rate_limit_rules is
  E'@name rate_limit_algorithm\n'
  'Algorithm of a rate limit.\n'
  'fixed_window: Counts requests in fixed windows.\n'
  'sliding_window: Counts requests in a window that ends now.\n'
  'token_bucket: Refills a bucket of tokens at a steady rate.';

comment on constraint security_audit_log_severity_check on security.security_audit_log is
  E'@name security_event_severity\n'
  'Severity of a security event.\n'
  'debug: Of use for debugging only.\n'
  'info: Expected.\n'
  'warning: Unusual.\n'
  'error: A failure or an attack that was stopped.\n'
  'critical: Needs attention at once.';

comment on constraint suspicious_activity_rules_severity_check on security.suspicious_activity_rules is
  E'Severity of the events that a rule records.\n'
  'warning: Unusual.\n'
  'error: A failure or an attack that was stopped.\n'
  'critical: Needs attention at once.';

-- Written by functions only, which know these values; a constraint makes them known to the API too.

alter table billing.subscription_changes
  add constraint subscription_changes_from_status_check check (from_status in ('trialing', 'active', 'past_due', 'paused', 'canceled', 'expired'));
comment on constraint subscription_changes_from_status_check on billing.subscription_changes is
  E'@name subscription_status\n'
  'Status of a subscription.\n'
  'trialing: In its free trial.\n'
  'active: Paid and usable.\n'
  'past_due: Usable in its grace period although a payment failed.\n'
  'paused: Not usable until it is resumed.\n'
  'canceled: Ended by a cancellation.\n'
  'expired: Ended without a cancellation: unpaid, or revoked.';

alter table billing.subscription_changes
  add constraint subscription_changes_to_status_check check (to_status in ('trialing', 'active', 'past_due', 'paused', 'canceled', 'expired'));
comment on constraint subscription_changes_to_status_check on billing.subscription_changes is
  E'@name subscription_status\n'
  'Status of a subscription.\n'
  'trialing: In its free trial.\n'
  'active: Paid and usable.\n'
  'past_due: Usable in its grace period although a payment failed.\n'
  'paused: Not usable until it is resumed.\n'
  'canceled: Ended by a cancellation.\n'
  'expired: Ended without a cancellation: unpaid, or revoked.';

alter table billing.token_grants
  add constraint token_grants_source_check check (source in ('plan', 'purchase', 'manual', 'promotion', 'rollover'));
comment on constraint token_grants_source_check on billing.token_grants is
  E'Origin of a token grant.\n'
  'plan: The quota of a plan.\n'
  'purchase: Bought.\n'
  'manual: Granted by hand.\n'
  'promotion: A promotion.\n'
  'rollover: Carried over from an earlier period.';

alter table billing.token_holds
  add constraint token_holds_state_check check (state in ('open', 'settled', 'released', 'expired'));
comment on constraint token_holds_state_check on billing.token_holds is
  E'State of a token hold.\n'
  'open: The tokens are reserved; past its expiry, it counts as expired.\n'
  'settled: The actual usage was recorded.\n'
  'released: The reservation was released without usage.\n'
  'expired: The reservation ended by itself.';

alter table billing.usage_events
  add constraint usage_events_kind_check check (kind in ('usage', 'correction'));
comment on constraint usage_events_kind_check on billing.usage_events is
  E'Kind of a usage event.\n'
  'usage: Tokens that were used.\n'
  'correction: The difference to a recorded usage.';

alter table billing.usage_events
  add constraint usage_events_source_check check (source in ('hold', 'service', 'message', 'self_reported'));
comment on constraint usage_events_source_check on billing.usage_events is
  E'Source of a usage event.\n'
  'hold: A settled hold.\n'
  'service: Recorded by a service without a hold.\n'
  'message: Usage of a message, recorded by a service.\n'
  'self_reported: Usage of a message, reported by the user.';

alter table identity.user_sessions
  add constraint user_sessions_authentication_methods_are_known check (authentication_methods <@ array['pwd', 'otp', 'hwk', 'swk', 'fed', 'mfa']);
comment on constraint user_sessions_authentication_methods_are_known on identity.user_sessions is
  E'@name authentication_method\n'
  'Method used to sign in, as an amr value of RFC 8176.\n'
  'pwd: Password.\n'
  'otp: One-time code, including recovery codes.\n'
  'hwk: Passkey that is bound to a device.\n'
  'swk: Passkey that is synchronized between devices.\n'
  'fed: Another provider.\n'
  'mfa: More than one factor.';

-- Values that functions and composite types return: no table has a constraint that lists them.

create domain access.access_verdict as text
  constraint access_verdict_check check (value in ('allowed', 'denied', 'no_row', 'depends_on_row', 'unknown'));
comment on domain access.access_verdict is 'Verdict of an access explanation.';
comment on constraint access_verdict_check on domain access.access_verdict is
  E'allowed: The statement succeeds.\n'
  'denied: A grant is missing, or a policy hides or rejects the row.\n'
  'no_row: No row has this key.\n'
  'depends_on_row: The policies depend on a row that was not named.\n'
  'unknown: A policy or a default writes, which an explanation may not.';

create domain access.condition_operator as text
  constraint condition_operator_check check (value in ('and', 'or', 'not'));
comment on domain access.condition_operator is 'Operator that connects the parts of a policy''s condition.';
comment on constraint condition_operator_check on domain access.condition_operator is
  E'and: Every part must hold.\n'
  'or: One part must hold.\n'
  'not: The part must not hold.';

create domain access.explained_operation as text
  constraint explained_operation_check check (value in ('select', 'insert', 'update', 'delete', 'execute'));
comment on domain access.explained_operation is 'Operation that an access explanation is about.';
comment on constraint explained_operation_check on domain access.explained_operation is
  E'select: Reads a row.\n'
  'insert: Creates a row.\n'
  'update: Changes a row.\n'
  'delete: Deletes a row.\n'
  'execute: Calls a function.';

create domain access.api_role as text
  constraint api_role_check check (value in ('user', 'anonymous'));
comment on domain access.api_role is 'Role of the API in the database.';
comment on constraint api_role_check on domain access.api_role is
  E'user: Signed-in users.\n'
  'anonymous: Visitors.';

create domain access.model_access_source as text
  constraint model_access_source_check check (value in ('public', 'user', 'role', 'plan'));
comment on domain access.model_access_source is 'Source of the access to a model.';
comment on constraint model_access_source_check on domain access.model_access_source is
  E'public: Every user may use the model.\n'
  'user: Granted to the user.\n'
  'role: Granted to a role of the user.\n'
  'plan: Granted to the user''s plan.';

create domain access.policy_command as text
  constraint policy_command_check check (value in ('select', 'insert', 'update', 'delete', 'all'));
comment on domain access.policy_command is 'Command that a row policy applies to.';
comment on constraint policy_command_check on domain access.policy_command is
  E'select: Reading rows.\n'
  'insert: Creating rows.\n'
  'update: Changing rows.\n'
  'delete: Deleting rows.\n'
  'all: Every command.';

create domain identity.api_token_scope as text
  constraint api_token_scope_check check (value in ('read', 'write'));
comment on domain identity.api_token_scope is 'Scope of an API token.';
comment on constraint api_token_scope_check on domain identity.api_token_scope is
  E'read: Reads.\n'
  'write: Writes; always together with read.';

create domain learning.content_access_reason as text
  constraint content_access_reason_check check (value in ('editor', 'author', 'preview', 'permission', 'plan', 'not_available', 'denied', 'sign_in_required', 'plan_required', 'prerequisites_missing'));
comment on domain learning.content_access_reason is 'Reason a user has or lacks access to a content item.';
comment on constraint content_access_reason_check on domain learning.content_access_reason is
  E'editor: Access: the user edits content.\n'
  'author: Access: the user is the author.\n'
  'preview: Access: the item is a free preview.\n'
  'permission: Access: the item is permitted to the user.\n'
  'plan: Access: the user''s plan includes the item.\n'
  'not_available: No access: the item does not exist or is not available now.\n'
  'denied: No access: the item is denied to the user.\n'
  'sign_in_required: No access: visitors must sign in.\n'
  'plan_required: No access: a higher plan is needed.\n'
  'prerequisites_missing: No access: other items must be completed first.';

create domain learning.content_search_facet as text
  constraint content_search_facet_check check (value in ('content_type', 'level', 'language', 'category', 'tag'));
comment on domain learning.content_search_facet is 'Facet of a content search.';
comment on constraint content_search_facet_check on domain learning.content_search_facet is
  E'content_type: The type of the item.\n'
  'level: The level of the item.\n'
  'language: The language of the item.\n'
  'category: The category of the item.\n'
  'tag: A tag of the item.';

create domain learning.heartbeat_outcome as text
  constraint heartbeat_outcome_check check (value in ('recorded', 'repeated', 'refused'));
comment on domain learning.heartbeat_outcome is 'Outcome of a heartbeat. Each is final: retry only if no response arrives.';
comment on constraint heartbeat_outcome_check on domain learning.heartbeat_outcome is
  E'recorded: Recorded.\n'
  'repeated: Recorded before; nothing changed.\n'
  'refused: Refused; see the reason.';

create domain learning.heartbeat_refusal as text
  constraint heartbeat_refusal_check check (value in ('event_id', 'from_seconds', 'to_seconds', 'active_seconds', 'occurred_at', 'malformed', 'no_such_version', 'not_available', 'denied', 'sign_in_required', 'plan_required', 'prerequisites_missing'));
comment on domain learning.heartbeat_refusal is 'Reason a heartbeat was refused.';
comment on constraint heartbeat_refusal_check on domain learning.heartbeat_refusal is
  E'event_id: The event id is missing or was used for another heartbeat.\n'
  'from_seconds: The start of the section is invalid.\n'
  'to_seconds: The end of the section is invalid.\n'
  'active_seconds: The active time is invalid.\n'
  'occurred_at: The time is missing, in the future or older than 30 days.\n'
  'malformed: The heartbeat is unreadable.\n'
  'no_such_version: The item has no such version.\n'
  'not_available: The item does not exist or is not available now.\n'
  'denied: The item is denied to the user.\n'
  'sign_in_required: Visitors must sign in.\n'
  'plan_required: A higher plan is needed.\n'
  'prerequisites_missing: Other items must be completed first.';

create domain learning.recommendation_reason as text
  constraint recommendation_reason_check check (value in ('begun', 'next_in_course', 'trains_skill', 'popular', 'fits_level', 'available'));
comment on domain learning.recommendation_reason is 'Reason a content item is recommended: the first that applies.';
comment on constraint recommendation_reason_check on domain learning.recommendation_reason is
  E'begun: The user has started it.\n'
  'next_in_course: The next part of a course that the user has started.\n'
  'trains_skill: Teaches a skill that the user trains.\n'
  'popular: Popular with other users.\n'
  'fits_level: Fits the user''s level.\n'
  'available: Available to the user.';

create domain rooms.room_event_kind as text
  constraint room_event_kind_check check (value in ('message_posted', 'message_edited', 'message_deleted', 'message_restored', 'reactions_changed', 'member_joined', 'member_left', 'member_changed', 'room_changed'));
comment on domain rooms.room_event_kind is 'Kind of a room event.';
comment on constraint room_event_kind_check on domain rooms.room_event_kind is
  E'message_posted: A message was posted.\n'
  'message_edited: A message was edited.\n'
  'message_deleted: A message was deleted.\n'
  'message_restored: A deleted message was restored.\n'
  'reactions_changed: The reactions to a message changed.\n'
  'member_joined: A member joined.\n'
  'member_left: A member left or was removed.\n'
  'member_changed: A member''s role or settings changed.\n'
  'room_changed: The room''s settings changed.';

-- An argument is not the column of the same name, which has another name in the API.
--! Included access/functions/grant_role.sql
-- Grant and revoke roles by name. Invoker rights: the policies of access.user_roles decide which callers may.
create or replace function access.grant_role(
  user_id uuid,
  role_name text,
  expires_at timestamptz default null,
  reason text default null
)
  returns access.user_roles
  language plpgsql
  volatile
  set search_path = pg_catalog
as $$
declare
  v_role_id uuid := (select r.id from access.roles r where r.role_name = grant_role.role_name);
  v_result access.user_roles;
begin
  if v_role_id is null then
    raise exception 'Role not found.'
      using errcode = 'PL404', column = 'role_name';
  end if;
  insert into access.user_roles as ur (user_id, role_id, expires_at, reason)
  values (grant_role.user_id, v_role_id, grant_role.expires_at, grant_role.reason)
  on conflict on constraint user_roles_pkey do update set expires_at = excluded.expires_at, reason = excluded.reason
  returning * into v_result;
  return v_result;
end
$$;

comment on function access.grant_role(uuid, text, timestamptz, text) is
  'Grants a user a role, or renews the grant with another expiry and reason. Needs manage_roles and, until the expiry, every permission of the role. PL404 for an unknown role, PL409 if no administrator without an expiry would remain.';
grant execute on function access.grant_role(uuid, text, timestamptz, text) to :PLINTH_USER;
--! EndIncluded access/functions/grant_role.sql
