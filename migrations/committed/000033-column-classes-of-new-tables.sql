--! Previous: sha1:8841a99afafc558d32f83fe646681c6b7293daa7
--! Hash: sha1:e50635ba257463e9e1449493624aa42b7554c2e2
--! Message: column classes of new tables

-- The personal-data classes of the columns that the migrations around 000030 add.
insert into security.column_classes (schema_name, table_name, column_name, class)
select split_part(t.name, '.', 1), split_part(t.name, '.', 2), unnest(t.columns::text[]), t.class
from (values
  ('private.account_days', 'pseudonym', '{account_id, chat_messages, content_sessions, day, plan_code, room_messages, sign_ins, token_uses}'),
  ('private.account_usage_days', 'none', '{currency, id}'),
  ('private.account_usage_days', 'pseudonym', '{account_id, day, input_tokens, model_id, output_tokens, plan_code, requests,
    total_tokens, unpriced_tokens}'),
  ('private.account_usage_days', 'financial', '{cost}'),
  ('private.audit_blocks', 'none', '{closed_at, entry_count, hash, number, previous_hash, root}'),
  ('private.audit_commitments', 'none', '{block_number, content_hash, created_at, fixed_hash, log, row_created_at, row_id, version}'),
  ('private.audit_commitments', 'pseudonym', '{account_id}'),
  ('private.days_to_roll_up', 'none', '{day, id}'),
  ('private.revenue_days', 'none', '{currency, day, disputed_cents, gross_cents, id, payments, plan_code, refunded_cents}'),
  ('private.roll_up_state', 'none', '{is_only_row, refreshed_at, watermark}'),
  ('private.rolled_up_accounts', 'pseudonym', '{id, seconds_to_first_message, seconds_to_first_payment, seconds_to_verified,
    signed_up_on, user_id}'),
  ('private.sign_in_days', 'none', '{attempts, day, ip_addresses, status, users}'),
  ('security.audit_trail', 'none', '{acting_role, actor_kind, content_salt, fixed_salt, has_ignored_claims, job_name, migration}'),
  ('security.audit_trail', 'pseudonym', '{api_token_id, session_id}'),
  ('security.security_audit_log', 'none', '{acting_role, actor_kind, content_salt, fixed_salt, has_ignored_claims, job_name, migration}'),
  ('security.security_audit_log', 'pseudonym', '{api_token_id, session_id}')
) as t (name, class, columns);
