drop function
  private.delete_old_heartbeats(integer),
  private.refresh_content_popularity(),
  learning.recommend_items(integer),
  learning.course_learners(uuid),
  learning.content_categories_progress(learning.content_categories),
  learning.content_items_progress(learning.content_items),
  learning.sum_progress(bigint, bigint, numeric, numeric, timestamptz),
  learning.complete_item(uuid, integer),
  learning.record_heartbeats(jsonb),
  learning.record_heartbeat(uuid, uuid, integer, integer, integer, timestamptz, integer),
  private.refuse_recording(text),
  private.open_for_recording(uuid, integer),
  private.apply_heartbeat(uuid, uuid, uuid, integer, integer, integer, integer, integer, timestamptz, timestamptz),
  private.place_session(uuid, uuid, integer, int4multirange, integer, timestamptz, timestamptz),
  private.covered_seconds(int4multirange, integer),
  private.heartbeat_problem(uuid, integer, integer, integer, timestamptz),
  private.credit_completions(uuid, uuid[]),
  private.advance_training(uuid, uuid);
drop trigger _500_forget_checked_access on learning.user_content_permissions;
drop function learning.forget_checked_access();
drop trigger _600_count_completed_items on learning.training;
drop function learning.count_completed_items();
drop view learning.my_item_progress, learning.learning_analytics, analytics.user_activity_summary;
drop materialized view analytics.content_popularity;
--!restore learning/functions/has_completed.sql
drop function private.has_completed_parts(uuid, uuid);
drop type learning.progress_summary, learning.heartbeat_result;
drop table
  private.recorded_heartbeats, learning.content_consumption, learning.content_progress, learning.content_skills;
