drop trigger _050_record_content_before on learning.content_items;
drop trigger _800_record_updated_content on learning.content_items;
drop trigger _800_record_deleted_content on learning.content_items;
drop trigger _050_record_content_before on learning.content_skills;
drop trigger _800_record_added_skills on learning.content_skills;
drop trigger _800_record_updated_skills on learning.content_skills;
drop trigger _800_record_deleted_skills on learning.content_skills;
drop trigger _910_keep_scale on learning.content_skills;
drop trigger _910_keep_scale on learning.skill_evidence;
drop trigger _910_keep_scale on learning.skills;
drop trigger _910_keep_scale on learning.training;
drop trigger _910_keep_scale on learning.user_skills;
drop trigger _910_keep_scale on billing.model_prices;
drop trigger _910_keep_scale on billing.daily_usage;
drop trigger _500_sum_skill_evidence on learning.skill_evidence;
drop trigger _500_note_skill_level on learning.user_skills;

drop view learning.learning_analytics;
drop view learning.my_item_progress;
drop view billing.current_model_prices;
drop view billing.monthly_usage;
drop view analytics.model_catalogue;
drop view analytics.daily_usage_cost;
drop view analytics.user_activity_summary;
drop materialized view analytics.content_popularity;

-- What was completed and counted meanwhile stays; only when it was spent is forgotten.
alter table learning.content_progress drop column active;
alter table learning.content_consumption drop column active;
comment on column learning.content_progress.active_seconds is 'Time spent with the item, all versions and repetitions.';
comment on column learning.content_consumption.active_seconds is 'Time spent, without pauses.';
comment on column learning.progress_summary.active_seconds is 'Time spent with them.';

alter table learning.content_skills
  drop constraint content_skills_gain_has_two_decimals,
  alter column gain type numeric(4, 2);
alter table learning.skill_evidence
  drop constraint skill_evidence_delta_has_two_decimals,
  alter column delta type numeric(4, 2);
alter table learning.skills
  drop constraint skills_training_gain_has_two_decimals,
  alter column training_gain type numeric(4, 2);
alter table learning.training
  drop constraint training_progress_has_four_decimals,
  alter column progress type numeric(5, 4);
alter table learning.user_skills
  drop constraint user_skills_level_has_two_decimals,
  alter column level type numeric(4, 2);
alter table billing.model_prices
  drop constraint model_prices_input_price_keeps_six_decimals,
  drop constraint model_prices_output_price_keeps_six_decimals,
  drop constraint model_prices_cached_price_keeps_six_decimals,
  drop constraint model_prices_reasoning_price_keeps_six_decimals,
  alter column input_price_per_million_tokens type numeric(18, 6),
  alter column output_price_per_million_tokens type numeric(18, 6),
  alter column cached_input_price_per_million_tokens type numeric(18, 6),
  alter column reasoning_price_per_million_tokens type numeric(18, 6);
alter table billing.daily_usage
  drop constraint daily_usage_cost_has_26_digits_and_12_decimals,
  alter column cost type numeric(38, 12);
alter table security.rate_limit_records
  drop constraint rate_limit_records_tokens_used_are_whole,
  alter column tokens_used type numeric(38, 0);

--!restore learning/views/my_item_progress.sql
--!restore private/functions/credit_completions.sql
--!restore private/functions/wanted_prices.sql
--!restore learning/functions/progress.sql
--!restore learning/functions/course_learners.sql
--!restore learning/functions/training.sql
--!restore learning/triggers/content_items.sql
--!restore learning/triggers/user_skills.sql
--!restore learning/views/learning_analytics.sql
--!restore billing/views/current_model_prices.sql
--!restore billing/views/monthly_usage.sql
--!restore analytics/views/model_catalogue.sql
--!restore analytics/views/daily_usage_cost.sql
--!restore analytics/views/user_activity_summary.sql
--!restore analytics/views/content_popularity.sql

drop function
  learning.record_content_before(),
  learning.record_changed_content(),
  learning.record_changed_skills(),
  learning.time_spent(numeric, int4multirange[]),
  plinth.keep_scale(),
  private.record_due_completions(integer),
  private.complete_played_items(uuid[]),
  private.record_completions(uuid[], uuid[], timestamptz),
  private.credit_skills(uuid, uuid[]),
  private.lock_completions(boolean),
  private.is_played(integer, integer);
drop table private.completion_checks;
