drop view
  analytics.daily_registrations, analytics.daily_sign_ins, analytics.daily_model_usage, analytics.model_catalogue;
