drop view
  analytics.account_security,
  analytics.consent_counts,
  analytics.daily_model_usage,
  analytics.daily_registrations,
  analytics.daily_sign_ins,
  analytics.daily_token_usage,
  analytics.daily_usage_cost,
  analytics.failed_logins_by_network,
  analytics.model_catalogue,
  analytics.security_events_hourly,
  analytics.sessions_by_state,
  analytics.user_activity_summary;

drop materialized view
  analytics.content_popularity,
  analytics.subscription_metrics;

drop function
  private.refresh_content_popularity(),
  private.refresh_subscription_metrics();
