-- Rows of archived months stay in their files. An attached month is in its log. A month that is still being archived is in a table
-- of its own, which would be lost: finish it first.
do $$
begin
  if exists (select from security.archives a where a.state = 'detached') then
    raise exception 'Archives are being written.' using hint = 'Finish them first: plinth archive run.';
  end if;
end
$$;

--!restore plinth/private/ensure_partitions.sql
--!restore security/private/delete_old_error_logs.sql
--!restore analytics/views/user_activity_summary.sql
--!restore billing/private/record_usage.sql
--!restore billing/private/correct_usage.sql
--!restore billing/private/settle_hold.sql
--!restore llm/private/record_message_usage.sql
drop function
  private.create_month_partition(regclass, date),
  private.recorded_usage(uuid, timestamptz),
  private.log_source(text),
  private.archive_table(text, date),
  private.kept_since(text),
  private.due_log_months(),
  private.require_due_month(text, date, text),
  private.detach_log_month(text, date),
  private.count_archived_consumption(uuid, regclass),
  private.end_archive_table(uuid),
  private.begin_archive(text, date),
  private.drop_log_month(text, date),
  private.open_archives(),
  private.read_archive_rows(uuid, bigint, integer),
  private.finish_archive(uuid, text, bigint, text, bigint, boolean, text),
  private.begin_attach(uuid),
  private.load_archive_rows(uuid, text[], text[]),
  private.reopen_archive(uuid);
drop index rooms.room_changes_created_at_idx, private.payment_events_received_at_idx;
drop table private.archived_consumption, security.archives, security.retention_policies;
