drop trigger _700_record_data_change on billing.usage_limits;
drop trigger _700_record_data_change on billing.plan_prices;
drop trigger _700_record_data_change on billing.subscription_plans;
