--! Previous: sha1:71960a1f65f1bc9f17efc732a740d7ebb32fc310
--! Hash: sha1:df3562e633d785b1adfb27244c65dc06c591aeab
--! Message: refresh empty views

-- The jobs that refresh materialized views also fill those that are not populated, as after a restore of the schema alone.
--! Included analytics/private/refresh_content_popularity.sql
-- Concurrently: readers see the old numbers until the new ones are ready. A materialized view is refreshed by its owner.
create or replace function private.refresh_content_popularity()
  returns integer
  language plpgsql
  volatile
  security definer
  set search_path = pg_catalog
as $$
begin
  if (select c.relispopulated from pg_class c where c.oid = 'analytics.content_popularity'::regclass) then
    refresh materialized view concurrently analytics.content_popularity;
  else
    -- As after a restore of the schema alone. Nothing can read the view before, so there is no reader to block.
    refresh materialized view analytics.content_popularity;
  end if;
  return (select count(*) from analytics.content_popularity);
end
$$;

comment on function private.refresh_content_popularity() is 'Refreshes analytics.content_popularity; returns its number of rows.';
grant execute on function private.refresh_content_popularity() to :PLINTH_WORKER;
--! EndIncluded analytics/private/refresh_content_popularity.sql
--! Included analytics/private/refresh_subscription_metrics.sql
-- Concurrently, so that readers of the metrics do not wait.
create or replace function private.refresh_subscription_metrics()
  returns integer
  language plpgsql
  volatile
  security definer
  set search_path = pg_catalog
as $$
begin
  if (select c.relispopulated from pg_class c where c.oid = 'analytics.subscription_metrics'::regclass) then
    refresh materialized view concurrently analytics.subscription_metrics;
  else
    -- As after a restore of the schema alone. Nothing can read the view before, so there is no reader to block.
    refresh materialized view analytics.subscription_metrics;
  end if;
  return (select count(*) from analytics.subscription_metrics);
end
$$;

comment on function private.refresh_subscription_metrics() is 'Refreshes analytics.subscription_metrics without blocking its readers; returns its number of rows.';
grant execute on function private.refresh_subscription_metrics() to :PLINTH_WORKER;
--! EndIncluded analytics/private/refresh_subscription_metrics.sql
