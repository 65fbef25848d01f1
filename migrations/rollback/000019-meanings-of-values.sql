--!restore access/functions/grant_role.sql

comment on constraint payments_status_check on billing.payments is null;
comment on constraint subscription_plans_billing_cycle_check on billing.subscription_plans is null;
comment on constraint usage_limits_period_check on billing.usage_limits is null;
comment on constraint user_subscriptions_status_check on billing.user_subscriptions is null;
comment on constraint data_exports_status_check on identity.data_exports is null;
comment on constraint mfa_factors_kind_check on identity.mfa_factors is null;
comment on constraint user_sessions_end_reason_check on identity.user_sessions is null;
comment on constraint users_account_status_check on identity.users is null;
comment on constraint content_bodies_body_format_check on learning.content_bodies is null;
comment on constraint content_items_content_type_check on learning.content_items is null;
comment on constraint skill_evidence_kind_check on learning.skill_evidence is null;
comment on constraint training_status_check on learning.training is null;
comment on constraint user_content_permissions_permission_check on learning.user_content_permissions is null;
comment on constraint message_feedback_rating_check on llm.message_feedback is null;
comment on constraint messages_finish_reason_check on llm.messages is null;
comment on constraint messages_role_check on llm.messages is null;
comment on constraint messages_state_check on llm.messages is null;
comment on constraint model_providers_auth_type_check on llm.model_providers is null;
comment on constraint prompts_prompt_type_check on llm.prompts is null;
comment on constraint prompts_visibility_check on llm.prompts is null;
comment on constraint chat_rooms_room_type_check on rooms.chat_rooms is null;
comment on constraint general_chat_revisions_change_check on rooms.general_chat_revisions is null;
comment on constraint room_message_revisions_change_check on rooms.room_message_revisions is null;
comment on constraint presence_status_check on rooms.presence is null;
comment on constraint room_invites_status_check on rooms.room_invites is null;
comment on constraint room_members_role_check on rooms.room_members is null;
comment on constraint room_messages_message_type_check on rooms.room_messages is null;
comment on constraint room_messages_sender_type_check on rooms.room_messages is null;
comment on constraint audit_trail_operation_check on security.audit_trail is null;
comment on constraint login_attempts_status_check on security.login_attempts is null;
comment on constraint rate_limit_records_algorithm_check on security.rate_limit_records is null;
comment on constraint rate_limit_rules_algorithm_check on security.rate_limit_rules is null;
comment on constraint security_audit_log_severity_check on security.security_audit_log is null;
comment on constraint suspicious_activity_rules_severity_check on security.suspicious_activity_rules is null;
alter table billing.subscription_changes drop constraint subscription_changes_from_status_check;
alter table billing.subscription_changes drop constraint subscription_changes_to_status_check;
alter table billing.token_grants drop constraint token_grants_source_check;
alter table billing.token_holds drop constraint token_holds_state_check;
alter table billing.usage_events drop constraint usage_events_kind_check;
alter table billing.usage_events drop constraint usage_events_source_check;
alter table identity.user_sessions drop constraint user_sessions_authentication_methods_are_known;

drop domain
  access.access_verdict,
  access.condition_operator,
  access.explained_operation,
  access.api_role,
  access.model_access_source,
  access.policy_command,
  identity.api_token_scope,
  learning.content_access_reason,
  learning.content_search_facet,
  learning.heartbeat_outcome,
  learning.heartbeat_refusal,
  learning.recommendation_reason,
  rooms.room_event_kind;
